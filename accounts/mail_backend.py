"""The development's mail backend: each mail is a file of the active tenant (or of control), shown on the outbox page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage as ParsedMessage
from email.utils import parsedate_to_datetime

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend

from tenants.ids import new_id

FOLDER = "mail"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class OutboxBackend(BaseEmailBackend):
    """Writes mails as files named by a UUIDv7, so that names sort by time. Raises NoTenant without a tenant."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        for message in email_messages:
            default_storage.save(f"{FOLDER}/{new_id()}.eml", ContentFile(message.message().as_bytes()))
        return len(email_messages)


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as the outbox page shows it."""

    id: str
    to: str
    subject: str
    sent_at: datetime | None
    text: str
    html: str


def list_mails(limit: int = 100) -> list[Mail]:
    """The newest mails of the active tenant, newest first."""
    try:
        _, names = default_storage.listdir(FOLDER)
    except FileNotFoundError:
        return []
    ids = sorted((name.removesuffix(".eml") for name in names), reverse=True)
    return [mail for mail_id in ids[:limit] if (mail := get_mail(mail_id)) is not None]


def get_mail(mail_id: str) -> Mail | None:
    """One mail of the active tenant, or None."""
    if not _ID.fullmatch(mail_id):
        return None
    try:
        with default_storage.open(f"{FOLDER}/{mail_id}.eml", "rb") as file:
            parsed = message_from_bytes(file.read(), policy=policy.default)
    except FileNotFoundError:
        return None
    date = parsed["Date"]
    return Mail(
        id=mail_id,
        to=str(parsed["To"] or ""),
        subject=str(parsed["Subject"] or ""),
        sent_at=parsedate_to_datetime(str(date)) if date else None,
        text=_body(parsed, "plain"),
        html=_body(parsed, "html"),
    )


def _body(message: ParsedMessage, kind: str) -> str:
    part = message.get_body(preferencelist=(kind,))
    return str(part.get_content()) if part is not None else ""

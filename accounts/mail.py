"""One small function for each e-mail, all through `send`."""

from __future__ import annotations

from typing import Any

import structlog
from django.core.mail import EmailMessage
from django.template.loader import render_to_string

from accounts.links import invitation_url
from accounts.models import Invitation
from tenants.context import current

log = structlog.get_logger(__name__)


def send_invitation(*, to: str, organisation: str, invited_by: str, role: str, secret: str) -> None:
    """The link by which an invited person becomes a member of the active tenant."""
    facts = {
        "organisation": organisation,
        "invited_by": invited_by,
        "role": role,
        "url": invitation_url(current(), secret),
        "days": Invitation.LIFETIME.days,
    }
    send(to=to, subject=f"Join {organisation}", template="accounts/mail/invitation.txt", facts=facts)


def send(*, to: str, subject: str, template: str, facts: dict[str, Any]) -> None:
    """Render and send a plain e-mail. A mail server that is away is logged and fails nobody's request."""
    message = EmailMessage(" ".join(subject.split()), render_to_string(template, facts), to=[to])
    deliver(message)


def deliver(message: EmailMessage) -> None:
    """Hand a message to the configured backend; see `send` for failures."""
    try:
        message.send()
    except Exception as error:  # whatever a backend raises: the change that the mail is about has been committed
        log.error("mail_not_sent", error=type(error).__name__)
    else:
        log.info("mail_sent")

"""The development's mail backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.mail import EmailMultiAlternatives, send_mail

from accounts.mail_backend import get_mail, list_mails
from tenants.context import use_tenant
from tenants.errors import NoTenant
from tenants.refs import TenantRef


@pytest.fixture(autouse=True)
def outbox(settings: Any, tmp_path: Path) -> None:
    settings.EMAIL_BACKEND = "accounts.mail_backend.OutboxBackend"
    settings.MEDIA_ROOT = tmp_path


def test_mails_are_listed_newest_first(tenant: TenantRef) -> None:
    send_mail("First", "Hello", None, ["a@x.example"])
    send_mail("Second, with ü", "Grüße\nhttps://x.example/?a=1&b=2", None, ["b@x.example"])
    newest, oldest = list_mails()
    assert (newest.to, newest.subject, oldest.subject) == ("b@x.example", "Second, with ü", "First")
    assert newest.text.splitlines() == ["Grüße", "https://x.example/?a=1&b=2"]
    assert newest.sent_at is not None
    assert get_mail(newest.id) == newest


def test_both_bodies_are_kept(tenant: TenantRef) -> None:
    message = EmailMultiAlternatives("Both", "text", None, ["a@x.example"])
    message.attach_alternative("<p>html</p>", "text/html")
    message.send()
    mail = list_mails()[0]
    assert (mail.text.strip(), mail.html.strip()) == ("text", "<p>html</p>")


def test_each_tenant_has_its_own(acme: TenantRef, globex: TenantRef) -> None:
    with use_tenant(acme):
        send_mail("Secret", "Hello", None, ["a@x.example"])
        mail_id = list_mails()[0].id
    with use_tenant(globex):
        assert list_mails() == []
        assert get_mail(mail_id) is None


@pytest.mark.parametrize("mail_id", ["../../etc/passwd", "", "nothing", "01a20255-563e-7623-b6bb-b0b19f33532e"])
def test_what_is_no_mail_is_none(tenant: TenantRef, mail_id: str) -> None:
    assert get_mail(mail_id) is None


def test_without_a_tenant_it_raises() -> None:
    with pytest.raises(NoTenant):
        send_mail("Nowhere", "Hello", None, ["a@x.example"])

"""The mails of a development system, so that invitations and resets work with no mail server. In production: 404."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from accounts import mail_backend
from tenants.refs import TenantRef


def outbox(request: HttpRequest) -> HttpResponse:
    """The newest mails of this host's tenant, or of control."""
    return render(request, "accounts/outbox.html", {**_shell(request), "mails": mail_backend.list_mails()})


def outbox_mail(request: HttpRequest, mail_id: str) -> HttpResponse:
    """One mail."""
    shell = _shell(request)
    mail = mail_backend.get_mail(mail_id)
    if mail is None:
        raise Http404("There is no such mail.")
    return render(request, "accounts/outbox_mail.html", {**shell, "mail": mail})


def _shell(request: HttpRequest) -> dict[str, Any]:
    if not settings.TENANTRY_DEV:
        raise Http404
    if not isinstance(request.tenant, TenantRef):  # type: ignore[attr-defined]
        return {"outbox_base": "base_site.html"}
    return {"outbox_base": "base.html" if request.user.is_authenticated else "base_open.html"}

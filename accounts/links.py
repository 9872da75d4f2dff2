"""Absolute URLs of the hosts that Tenantry serves, for mails and answers that have no request to build them from."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings

from tenants.refs import Ref, TenantRef


def origin_of(ref: Ref) -> str:
    """`https://acme.example.com` for a tenant, `https://example.com` for control; the port is that of WEB_URL."""
    web = urlsplit(settings.WEB_URL)
    port = f":{web.port}" if web.port else ""
    host = f"{ref.slug}.{settings.BASE_DOMAIN}" if isinstance(ref, TenantRef) else settings.BASE_DOMAIN
    return f"{web.scheme}://{host}{port}"


def invitation_url(ref: Ref, secret: str) -> str:
    """Where an invited person accepts."""
    return f"{origin_of(ref)}/invitations/{secret}"


def sign_in_url(ref: Ref, secret: str) -> str:
    """Where a single-use link signs its user in."""
    return f"{origin_of(ref)}/sign-in/{secret}"

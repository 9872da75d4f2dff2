"""System checks of what tenancy relies on, each with what to do about it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured

from tenants import crypto


@register(Tags.database)
def check_default_database(**kwargs: Any) -> list[CheckMessage]:
    """`default` must be the engine that refuses to connect."""
    if settings.DATABASES["default"]["ENGINE"] == "tenants.unbound":
        return []
    return [
        Error(
            "DATABASES['default'] must be the engine tenants.unbound.",
            hint="Name databases in TENANT_SERVERS.",
            id="tenants.E001",
        )
    ]


@register(Tags.security)
def check_credentials_keys(**kwargs: Any) -> list[CheckMessage]:
    """The key ring must be readable."""
    try:
        crypto._ring(settings.CREDENTIALS_KEYS)
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="Make a key with: openssl rand -base64 32", id="tenants.E002")]
    return []


@register(Tags.security, deploy=True)
def check_secret_key(**kwargs: Any) -> list[CheckMessage]:
    """The key that all tenants' keys derive from must be long; Django's own check sees a derived one."""
    root = settings.SECRET_KEY.root()
    if len(root) >= 50 and len(set(root)) >= 5:
        return []
    return [
        Warning(
            "SECRET_KEY is shorter than 50 characters.",
            hint="Make one with: openssl rand -base64 48",
            id="tenants.W001",
        )
    ]

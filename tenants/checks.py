"""System checks of what tenancy relies on, each with what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError
from django.db.models import Count, Sum
from django.db.models.functions import Coalesce

from tenants import crypto
from tenants.db import budget


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


@register(Tags.database)
def check_budgets(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Each server must have connections for all processes (with `check --database control`, or in `migrate`)."""
    if "control" not in (databases or ()):
        return []
    from tenants.models import ServerBudget

    counted = ServerBudget.objects.filter(server_limit__isnull=False).annotate(
        leased=Coalesce(Sum("leases__size"), 0), holders=Count("leases")
    )
    try:
        found = list(counted.values_list("endpoint", "server_limit", "leased", "holders"))
    except DatabaseError:  # its tables are about to be made, or control is away
        return []
    return [
        Warning(f"{endpoint} gives {limit} connections; {leased} are leased.", hint=hint, id="tenants.W002")
        for endpoint, limit, leased, holders in found
        if limit is not None
        and (hint := budget.complaint(limit=limit, leased=leased, holders=holders, most=int(settings.POOL["max"])))
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

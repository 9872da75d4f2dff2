"""What every connection is told when it starts, so that no SET is ever needed: the network's limits, the time zone, the time limits."""

from __future__ import annotations

from django.conf import settings

# libpq's defaults wait for minutes on a peer that is gone. Seconds, and milliseconds for the last one.
NETWORK_OPTIONS = {
    "connect_timeout": "3",
    "keepalives_idle": "10",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


def startup_options(plan: str = "") -> str:
    """The session's settings: UTC, and the time limits of this kind of process for a tenant of `plan` (none: control)."""
    from tenants.limits import time_limits

    limits = time_limits(settings.TENANTRY_PROCESS, plan)
    return f"-c timezone=UTC {limits.as_options()}"


def application_name(what: str) -> str:
    """How a connection calls itself in `pg_stat_activity`: the kind of process and the tenant, in Postgres's 63 bytes."""
    return f"tenantry-{settings.TENANTRY_PROCESS} {what}"[:63]

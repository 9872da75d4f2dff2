"""What usage puts into a tenant's archive."""

from __future__ import annotations

from collections.abc import Iterator

from activity.archive.parts import Entry, archive_part, ndjson
from tenants.context import current_tenant
from tenants.models import UsageDay


@archive_part("usage")
def usage_part() -> Iterator[Entry]:
    """The days that are kept, the oldest first."""
    shown = ("day", "members", "events", "storage_bytes", "requests", "job_seconds", "others", "measured_at")
    yield ndjson("days.ndjson", UsageDay.objects.filter(tenant_id=current_tenant().id).order_by("day").values(*shown))

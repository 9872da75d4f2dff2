"""All tenants' usage by day, as operators see it."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.core.paginator import Paginator
from django.template.defaultfilters import filesizeformat
from django.utils.functional import cached_property

from tenants.admin_read_only import ReadOnly
from tenants.models import UsageDay

MOST_ROWS: Final = 5_000


class BoundedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts to MOST_ROWS and no further, so that the list is as quick for four million rows: a search finds what lies behind."""

    @cached_property
    def count(self) -> int:
        """How many rows can be paged through."""
        rows: Any = self.object_list
        return int(rows.order_by()[:MOST_ROWS].count())


@admin.register(UsageDay)
class UsageDayAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """What each organisation used on which day, the newest first."""

    list_display = (
        "day",
        "organisation",
        "plan",
        "members",
        "events",
        "storage",
        "requests",
        "job_time",
        "measured_at",
    )
    list_filter = ("tenant__plan",)
    list_select_related = ("tenant",)
    list_display_links = None
    list_per_page = 50
    list_max_show_all = 0
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # they count all rows
    ordering = ("-day", "-id")
    sortable_by = ()
    search_fields = ("tenant__slug",)
    search_help_text = "Part of an organisation's address"

    @admin.display(description="organisation")
    def organisation(self, row: UsageDay) -> str:
        """Whose usage it is."""
        return row.tenant.slug

    @admin.display(description="plan")
    def plan(self, row: UsageDay) -> str:
        """Which one it has now."""
        return row.tenant.get_plan_display()

    @admin.display(description="storage")
    def storage(self, row: UsageDay) -> str | None:
        """The database and the files."""
        return None if row.storage_bytes is None else filesizeformat(row.storage_bytes)

    @admin.display(description="seconds of jobs")
    def job_time(self, row: UsageDay) -> str:
        """For how long jobs ran."""
        return f"{row.job_seconds:,.0f}"

"""Which organisations' schedules are due when, by control's rows. What they are is in the organisations' own databases."""

from __future__ import annotations

from django.contrib import admin

from tenants.admin_read_only import ReadOnly
from tenants.models import JobSchedule


@admin.register(JobSchedule)
class JobScheduleAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """When each organisation's schedules are looked after next: within an hour, and by then whatever is due is started."""

    list_display = ("organisation", "state", "time_zone", "due_at")
    list_select_related = ("tenant",)
    list_display_links = None
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("tenant__slug",)
    search_help_text = "Part of an organisation's address"

    @admin.display(description="organisation", ordering="tenant__slug")
    def organisation(self, row: JobSchedule) -> str:
        """Whose schedules they are."""
        return row.tenant.slug

    @admin.display(description="state")
    def state(self, row: JobSchedule) -> str:
        """Those of a suspended one wait."""
        return row.tenant.get_state_display()

    @admin.display(description="time zone")
    def time_zone(self, row: JobSchedule) -> str:
        """Which its schedules follow unless they have one of their own."""
        return row.tenant.time_zone

"""All tenants' jobs, as operators see them: by their summaries in control, read-only."""

from __future__ import annotations

from django.contrib import admin

from activity.jobs.kinds import title_of
from tenants.admin_read_only import ReadOnly
from tenants.models import JobSummary


@admin.register(JobSummary)
class JobSummaryAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Which jobs there are, in what state, and what went wrong."""

    list_display = ("title", "organisation", "state", "done", "created_at", "finished_at", "error")
    list_filter = ("state", "kind")
    list_select_related = ("tenant",)
    list_display_links = None
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("tenant__slug",)
    search_help_text = "Part of an organisation's address"

    @admin.display(description="job", ordering="kind")
    def title(self, summary: JobSummary) -> str:
        """What people call the kind."""
        return title_of(summary.kind)

    @admin.display(description="organisation", ordering="tenant__slug")
    def organisation(self, summary: JobSummary) -> str:
        """Whose job it is."""
        return summary.tenant.slug if summary.tenant else "control"

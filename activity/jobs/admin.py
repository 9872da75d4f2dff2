"""All tenants' jobs, as operators see them by their summaries in control; who waits for whom, and what they have paused."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.contrib import admin
from django.db.models import Count, F, Min, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.db.models.lookups import IsNull
from django.http import HttpRequest

from activity.jobs.kinds import all_kinds, title_of
from activity.jobs.models import Job
from tenants.admin_read_only import ReadOnly
from tenants.models import JobPause, JobSummary, JobTurn


class FieldFilter(admin.SimpleListFilter):
    """By the field `parameter_name`; the choices are those that there are in all, and aren't looked for among the jobs."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[JobSummary]) -> QuerySet[JobSummary]:
        return queryset.filter(**{str(self.parameter_name): self.value()}) if self.value() else queryset


class StateFilter(FieldFilter):
    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(state, state) for state in Job.State.values]


class KindFilter(FieldFilter):
    title = parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind.name, kind.title) for kind in all_kinds()]


@admin.register(JobSummary)
class JobSummaryAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Which jobs there are, in what state, and what went wrong."""

    list_display = ("title", "organisation", "state", "priority", "done", "created_at", "finished_at", "error")
    list_filter = (StateFilter, KindFilter)
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


@admin.register(JobTurn)
class JobTurnAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Who waits for whom: whose turn it is next, with what each has waiting and running. An organisation can be paused here."""

    list_display = ("organisation", "plan", "turn_in_words", "waiting", "running", "waiting_since", "turn")
    list_filter = ("is_waiting", "is_full", "is_paused", "tenant__plan")
    list_select_related = ("tenant",)
    list_display_links = None
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("tenant__slug",)
    search_help_text = "Part of an organisation's address"
    ordering = ("-is_waiting", "turn", "owner")
    actions = ("pause", "resume")

    def get_queryset(self, request: HttpRequest) -> QuerySet[JobTurn]:
        """With what each has waiting and running, counted for the rows of the page alone."""
        # Control's own have no tenant, which equals nothing.
        is_own = Q(tenant=OuterRef("tenant")) | Q(IsNull(F("tenant"), True), IsNull(OuterRef("tenant"), True))
        own = JobSummary.objects.filter(is_own, finished_at=None).order_by().values("tenant")
        queued, running = own.filter(state="queued"), own.filter(state="running")
        turns: QuerySet[JobTurn] = super().get_queryset(request)
        return turns.annotate(
            waiting_count=Coalesce(Subquery(queued.annotate(found=Count("id")).values("found")), 0),
            running_count=Coalesce(Subquery(running.annotate(found=Count("id")).values("found")), 0),
            waits_since=Subquery(queued.annotate(found=Min("created_at")).values("found")),
        )

    def has_pause_permission(self, request: HttpRequest) -> bool:
        """Whoever may change turns, though nobody does so by hand."""
        return bool(cast(Any, request.user).has_perm("tenants.change_jobturn"))

    @admin.display(description="organisation", ordering="tenant__slug")
    def organisation(self, turn: JobTurn) -> str:
        """Whose jobs they are."""
        return turn.tenant.slug if turn.tenant else "control"

    @admin.display(description="plan")
    def plan(self, turn: JobTurn) -> str:
        """By which its share is weighted."""
        return turn.tenant.get_plan_display() if turn.tenant else ""

    @admin.display(description="state")
    def turn_in_words(self, turn: JobTurn) -> str:
        """What it waits for."""
        if turn.is_paused:
            return "paused by an operator"
        if turn.is_full:
            return "as many run as its plan allows"
        return "waits for its turn" if turn.is_waiting else "nothing waits"

    @admin.display(description="waiting")
    def waiting(self, turn: Any) -> int:
        """Jobs that are queued."""
        return int(turn.waiting_count)

    @admin.display(description="running")
    def running(self, turn: Any) -> int:
        """Jobs that workers have."""
        return int(turn.running_count)

    @admin.display(description="oldest waits since")
    def waiting_since(self, turn: Any) -> Any:
        """When the oldest one was queued."""
        return turn.waits_since

    @admin.action(permissions=["pause"], description="Pause: start no more jobs of the selected organisations")
    def pause(self, request: HttpRequest, queryset: QuerySet[JobTurn]) -> None:
        """What runs goes on."""
        count = JobTurn.objects.filter(pk__in=queryset.values("pk")).update(is_paused=True)
        self.message_user(request, f"Paused: {count}. What runs goes on.")

    @admin.action(permissions=["pause"], description="Resume the selected organisations")
    def resume(self, request: HttpRequest, queryset: QuerySet[JobTurn]) -> None:
        """Their jobs begin within seconds: the sweep calls the workers."""
        count = JobTurn.objects.filter(pk__in=queryset.values("pk")).update(is_paused=False)
        self.message_user(request, f"Resumed: {count}. Their jobs go on within seconds.")


class JobPauseForm(forms.ModelForm):  # type: ignore[type-arg]
    """A kind that there is, by what people call it."""

    kind = forms.ChoiceField()

    class Meta:
        model = JobPause
        fields = ("kind",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices: Any = self.fields["kind"]
        choices.choices = [(kind.name, f"{kind.title} ({kind.name})") for kind in all_kinds()]


@admin.register(JobPause)
class JobPauseAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Kinds of job that are paused in every organisation. To resume one, delete it here: its jobs go on within seconds."""

    form = JobPauseForm
    list_display = ("title", "kind", "paused_at")
    list_display_links = None

    @admin.display(description="job")
    def title(self, pause: JobPause) -> str:
        """What people call the kind."""
        return title_of(pause.kind)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

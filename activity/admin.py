"""The operators' look into an activity log: one tenant's at a time, read-only, and itself written down."""

from __future__ import annotations

from typing import Any, cast

import orjson
import structlog
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from pymongo.errors import PyMongoError

from activity.models import LoggedEvent, LogHead
from activity.personal import reveal
from tenants import context
from tenants.admin_read_only import ReadOnly
from tenants.models import Tenant
from tenants.refs import CONTROL, Ref

log = structlog.get_logger(__name__)

PAGE = 50
CHOICES = 50


@admin.register(LoggedEvent)
class LoggedEventAdmin(ReadOnly, admin.ModelAdmin):  # type: ignore[type-arg]
    """Asks for a tenant first. Pages are ranges of `seq`, so that each costs the same however long the log is."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.changelist_view)
        return [path("", view, name="activity_loggedevent_changelist")]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The tenants to choose from, or a page of the chosen one's log."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        slug = request.GET.get("tenant", "").strip()
        ref = _ref(slug)
        if ref is None:
            return self._choose(request, slug)
        before = request.GET.get("before", "")
        try:
            page = _page(ref, int(before) if before.isdecimal() else None)
        except (DatabaseError, PyMongoError) as error:
            log.warning("activity_unavailable", tenant=ref.slug, error=type(error).__name__)
            page = {"unavailable": True}
        if not before:
            self._note_look(request, ref)
        return self._render(request, "events.html", {"ref": ref, **page}, status=503 if "unavailable" in page else 200)

    def _choose(self, request: HttpRequest, slug: str) -> HttpResponse:
        found = Tenant.objects.filter(slug__contains=slug).order_by("slug")[: CHOICES + 1]
        content = {"wanted": slug, "tenants": found[:CHOICES], "has_more": len(found) > CHOICES}
        return self._render(request, "choose.html", content)

    def _render(
        self, request: HttpRequest, template: str, content: dict[str, Any], *, status: int = 200
    ) -> HttpResponse:
        common = {**self.admin_site.each_context(request), "opts": self.opts, "title": "Activity"}
        name = f"admin/activity/loggedevent/{template}"
        return TemplateResponse(request, name, {**common, **content}, status=status)

    def _note_look(self, request: HttpRequest, ref: Ref) -> None:
        """Operators see whose log was looked at, by whom and when, under the tenant's history."""
        if ref is not CONTROL:
            LogEntry.objects.log_actions(
                user_id=cast(Any, request.user.pk),
                queryset=[Tenant.objects.get(pk=ref.id)],
                action_flag=CHANGE,
                change_message="Looked at the activity log.",
                single_object=True,
            )


def _ref(slug: str) -> Ref | None:
    if slug == CONTROL.slug:
        return CONTROL
    tenant = Tenant.objects.filter(slug=slug).first() if slug and "\0" not in slug else None
    return None if tenant is None else tenant.ref()


def _page(ref: Ref, before: int | None) -> dict[str, Any]:
    """Up to PAGE events, newest first, that come before the number `before`."""
    with context.use(ref):
        first, head = LogHead.objects.values_list("first", "appended").first() or (1, 0)
    last = head if before is None else min(before - 1, head)
    events = LoggedEvent.objects.for_tenant(ref).filter(seq__gt=last - PAGE, seq__lte=last).order_by("-seq")
    documents = reveal(ref, [_document(event) for event in events])
    rows = [{"event": event, "data": orjson.dumps(event["data"], default=str).decode()} for event in documents]
    return {"rows": rows, "head": head, "older": last - PAGE + 1 if last - PAGE >= first else None}


def _document(event: LoggedEvent) -> dict[str, Any]:
    """An event as the log's own reader has it; the model's key is tenant and id."""
    fields = ("seq", "at", "action", "actor", "target", "source", "request_id", "ip", "data")
    return {"id": event.pk.rpartition(":")[2], **{field: getattr(event, field) for field in fields}}

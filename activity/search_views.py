"""Saved searches on the activity page. Who may do what is said where it is routed, but for what depends on whose a search is."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse

from activity import searches
from activity.errors import SearchInvalid, SearchNotFound
from activity.forms import FilterForm


def search_create(request: HttpRequest) -> HttpResponse:
    """Save the filters that the page shows, and show them again."""
    asked = QueryDict(request.POST.get("query", ""))
    form = FilterForm(asked)
    back = f"{reverse('activity')}?{asked.urlencode()}"
    if not form.is_valid():
        messages.error(request, "These filters can't be saved: one of them is not valid.")
        return redirect(back)
    is_shared = "is_shared" in request.POST
    if is_shared and "activity.write" not in cast(Any, request).verbs:
        raise PermissionDenied("Your role doesn't allow to share a search. Ask an owner or an admin here.")
    try:
        search = searches.search_save(
            owner=request.user, name=request.POST.get("name", ""), query=form.texts(), is_shared=is_shared
        )
    except SearchInvalid as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, f"The search “{search.name}” is saved.")
    return redirect(back)


def search_delete(request: HttpRequest, search_id: UUID) -> HttpResponse:
    """Delete one's own search or, for those who may, a shared one."""
    try:
        search = searches.search_get(user=request.user, search_id=search_id)
    except SearchNotFound:
        messages.info(request, "This search is deleted already.")
        return redirect("activity")
    if search.owner_id != request.user.pk and "activity.write" not in cast(Any, request).verbs:
        raise PermissionDenied("This search is somebody else's. Ask an owner or an admin here.")
    searches.search_delete(search=search)
    messages.success(request, f"The search “{search.name}” is deleted.")
    return redirect("activity")

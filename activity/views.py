"""The activity log as a page. Who may see it is said where it is routed: accounts, which knows, is above this app."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from activity import live, searches, selectors, stats
from activity.errors import LogUnavailable
from activity.forms import FilterForm
from activity.search import Query
from activity.sentences import SENTENCES
from tenants.pages import BadCursor, encode_cursor
from tenants.refs import Ref

# In the query: the number of the event next to which the page begins, on the side that the word says.
NEWER, OLDER = "newer", "older"


def activity(request: HttpRequest) -> HttpResponse:
    """A page of the log: the newest one first, then on by links to what is older and newer."""
    form = FilterForm(request.GET)
    facts: dict[str, Any] = {
        "form": form,
        "is_filtered": form.is_filtering,
        "has_more_filters": form.has_more,
        "known_actions": sorted(SENTENCES),
        "saved_searches": searches.searches_shown(request.user),
    }
    if not form.is_valid():
        return render(request, "activity/activity.html", facts, status=422)
    facts["stats"] = stats.stats_of_query(form.query())
    facts["current_query"] = form.texts()
    try:
        page = _page(cast(Any, request).tenant, form.query(), request)
    except BadCursor:
        return redirect(_link(request) or request.path)
    except LogUnavailable:
        return render(request, "activity/activity.html", {**facts, "is_away": True}, status=503)
    facts |= page
    if facts["first"] is None and form.query().order == "newest" and not form.has_days:
        facts["live_url"] = live.url(request, form.query(), after=facts["newest"])
    response = render(request, "activity/activity.html", facts)
    live.allow(request, response)
    return response


def _page(ref: Ref, query: Query, request: HttpRequest) -> dict[str, Any]:
    """The events as they are shown, and the links around them."""
    first, last = selectors.log_bounds(ref)  # before the page: what comes from here on is the live tail's
    onwards = OLDER if query.order == "newest" else NEWER
    back = NEWER if onwards == OLDER else OLDER
    cursor = request.GET.get(onwards)
    if back in request.GET:  # walked the other way, and shown in the page's order all the same
        walk = replace(query, order="oldest" if query.order == "newest" else "newest")
        found = selectors.event_page(ref, walk, cursor=request.GET[back])
        events = found.items[::-1]
        before, after = found.next, _beside(events[-1]["seq"], onwards) if events else None
    else:
        found = selectors.event_page(ref, query, cursor=cursor)
        events = found.items
        before, after = _beside(events[0]["seq"], back) if events and cursor else None, found.next
    return {
        "events": events,
        "total": last - first + 1,
        "newest": max(last, events[0]["seq"]) if events else last,
        "is_cut_short": not events and (after or before),
        "links": {
            back: _link(request, back, before),
            onwards: _link(request, onwards, after),
        },
        "first": _link(request) if cursor or back in request.GET else None,
    }


def _beside(seq: int, side: str) -> str:
    return encode_cursor(seq + 1 if side == NEWER else seq - 1)


def _link(request: HttpRequest, side: str = "", cursor: str | None = "") -> str | None:
    """This page's address with its filters, at a cursor; None when there is none."""
    if cursor is None:
        return None
    query = request.GET.copy()
    query.pop(NEWER, None)
    query.pop(OLDER, None)
    if side:
        query[side] = cursor
    return f"{request.path}?{query.urlencode()}"

"""The first page after signing in."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render

from accounts import dashboard as numbers
from accounts import selectors
from accounts.access import MemberRequest, read_access
from activity import selectors as activity_selectors
from activity.search import Query
from activity.stats import stats_of_query


@read_access("tenant.read")
def dashboard(request: MemberRequest) -> HttpResponse:
    """Numbers, the latest activity, and what is left to do."""
    by_role = numbers.members_by_role()
    members = sum(by_role.values())
    tokens = selectors.tokens(user=request.user).count()
    checklist = numbers.steps(request.user, members=members, tokens=tokens)
    facts = {
        "members_total": members,
        "members_by_role": ", ".join(f"{count} {role}{'' if count == 1 else 's'}" for role, count in by_role.items()),
        "pending_invitations": selectors.invitations().count(),
        "tokens_total": tokens,
        "events": activity_selectors.latest(request.tenant, limit=8),
        "events_total": activity_selectors.events_total(request.tenant),
        "stats": stats_of_query(Query()),
        "checklist": checklist,
        "steps_done": sum(step.done for step in checklist),
        "newest": [] if checklist else numbers.newest_members(),
    }
    return render(request, "accounts/dashboard.html", facts)

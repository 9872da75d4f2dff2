"""`/usage`: what the organisation uses, and what its plan allows."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router

from activity.api import caller
from activity.usage import selectors
from activity.usage.schemas import DayOut, DayPageOut, DaysFilter, UsageOut
from tenants.context import current_tenant

router = Router(tags=["Usage"])


@router.get("/usage", response=UsageOut, summary="What is used today, and the plan's limits")
def usage_get(request: HttpRequest) -> dict[str, Any]:
    """Served also when the day's requests are used up."""
    caller(request).require("usage.read")
    return UsageOut.of(selectors.usage_today(current_tenant()))


@router.get("/usage/days", response=DayPageOut, summary="Usage by day, newest first")
def usage_day_list(request: HttpRequest, filters: Query[DaysFilter]) -> dict[str, Any]:
    """Days of UTC of which something is known. They are kept for 400 days."""
    caller(request).require("usage.read")
    page = selectors.usage_days(
        current_tenant(), start=filters.start, end=filters.end, limit=filters.limit, cursor=filters.cursor
    )
    return {"items": [DayOut.of(day) for day in page.items], "next": page.next}

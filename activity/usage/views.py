"""The page of usage. Who may see it is said where it is routed: accounts, which knows, is above this app."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from activity.usage import selectors
from activity.usage.charts import BAR, HEIGHT, WIDTH, Card, chart_of
from activity.usage.tasks import MEASURE_SOON
from tenants import hints
from tenants.context import current_tenant

HAS_NO_DAYS: Final = {"events_sent"}


def usage(request: HttpRequest) -> HttpResponse:
    """What is used, of how much, and the last 30 days. Whoever looks has it measured anew, for when they look again."""
    ref = current_tenant()
    today = selectors.usage_today(ref)
    days = selectors.usage_days(ref, limit=selectors.USUAL_DAYS).items
    by_day = {day.day: day for day in days}
    cards = [
        Card(reading, None if reading.name in HAS_NO_DAYS else chart_of(reading.name, today.day, by_day))
        for reading in today.meters
    ]
    hints.send(MEASURE_SOON)
    facts: dict[str, Any] = {
        "today": today,
        "cards": cards,
        "warned": [reading for reading in today.meters if reading.state != "ok"],
        "has_limits": any(reading.limit is not None for reading in today.meters),
        "charted": [card.reading for card in cards if card.chart is not None],
        "days": [(day.day, [day.numbers.get(card.reading.name) for card in cards if card.chart]) for day in days],
        "size": {"width": WIDTH, "height": HEIGHT, "bar": BAR},
    }
    return render(request, "usage/usage.html", facts)

"""An event as it goes out to its followers: made once for all of them, in each of the forms in which it is asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Literal

import orjson
from django.conf import settings
from django.template.loader import render_to_string
from django.urls import get_urlconf, set_urlconf

from activity.search import Condition
from tenants.native import Event

Format = Literal["json", "html"]


class Frame:
    """One event of the log; `event` is as the API shows it."""

    __slots__ = ("_encoded", "event", "seq", "terms")

    def __init__(self, event: dict[str, Any], terms: list[str]) -> None:
        self.event = event
        self.seq: int = event["seq"]
        self.terms = frozenset(terms)
        self._encoded: dict[Format, bytes] = {}

    def fits(self, conditions: list[Condition]) -> bool:
        """Whether it is what a follower asked for."""
        return all(condition.holds(self.terms) for condition in conditions)

    def encoded(self, form: Format) -> bytes:
        """The event as it goes over the wire; its number is its id."""
        found = self._encoded.get(form)
        if found is None:
            text = _row(self.event) if form == "html" else orjson.dumps(self.event, option=orjson.OPT_UTC_Z).decode()
            found = self._encoded[form] = Event(text, id=str(self.seq)).encode()
        return found


def bookmark(seq: int, *, retry: int | None = None) -> bytes:
    """Tells a client how far it is, though there was nothing for it: it comes back with this number. A browser shows no event."""
    wait = "" if retry is None else f"retry: {retry}\n"
    return f"{wait}id: {seq}\n\n".encode()


# A row goes to all who follow: what only some of them may do, it offers to none.
_FOR_ALL = SimpleNamespace(user=SimpleNamespace(role=""))


def _row(event: dict[str, Any]) -> str:
    """The event as a row of the activity page. Its links are those of a tenant's pages, which Django finds by the request elsewhere."""
    former = get_urlconf()
    set_urlconf(settings.TENANT_URLCONF)
    try:
        return render_to_string("activity/row.html", {"event": event, "request": _FOR_ALL}).strip()
    finally:
        set_urlconf(former)

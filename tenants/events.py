"""Recording of activity events by code that must not import the app which keeps them."""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol

from django.conf import settings
from django.utils.module_loading import import_string


class Recorder(Protocol):
    def __call__(self, event: Any) -> Any: ...


@cache
def _recorder() -> Recorder:
    recorder: Recorder = import_string(settings.TENANTS_EVENT_RECORDER)
    return recorder


def record_event(event: Any) -> None:
    """Record an event in the current transaction of whoever is active, through settings.TENANTS_EVENT_RECORDER."""
    _recorder()(event)

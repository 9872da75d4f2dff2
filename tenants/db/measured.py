"""How long statements take: counted by the tenant's plan, and logged when they are slow.

The log says the statement's text with places for its values, never the values; tenant and request are in every line. What is counted
is the time until the server has answered in whole, as whoever asked has waited for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings

from tenants import context
from tenants.refs import TenantRef

log = structlog.get_logger("tenants.statements")

MAX_TEXT = 2_000  # characters of a statement in the log


@dataclass(slots=True)
class Statements:
    """What one class of tenants has asked since the process started."""

    count: int = 0
    seconds: float = 0.0
    slow: int = 0


_by_plan: dict[str, Statements] = {}
_lock = threading.Lock()


def measure(execute: Callable[..., Any], sql: Any, params: Any, many: bool, about: dict[str, Any]) -> Any:
    """Run a statement; one of Django's `execute_wrappers`."""
    started = time.perf_counter()
    try:
        return execute(sql, params, many, about)
    finally:
        _note(str(sql), time.perf_counter() - started, about["connection"].alias)


def _note(sql: str, seconds: float, alias: str) -> None:
    ref = context.active()
    plan = ref.plan if isinstance(ref, TenantRef) and alias != "control" else "control"
    limit: int = settings.SLOW_STATEMENT_MS
    is_slow = limit > 0 and seconds * 1000 >= limit
    with _lock:
        noted = _by_plan.get(plan)
        if noted is None:
            noted = _by_plan[plan] = Statements()
        noted.count += 1
        noted.seconds += seconds
        noted.slow += is_slow
    if is_slow:
        on = "replica" if "@" in alias else "primary"
        log.warning("slow_statement", duration_ms=round(seconds * 1000, 1), on=on, statement=sql[:MAX_TEXT])


def statements() -> dict[str, Statements]:
    """The counts by plan; `control` is the registry's and the operators'."""
    with _lock:
        return {plan: Statements(noted.count, noted.seconds, noted.slow) for plan, noted in _by_plan.items()}

"""Whether there is room for events from outside, while many wait for MongoDB: a full disk would stop the tenant, and its neighbours.

Only what is sent in is refused. What people do in Tenantry, or in an app on it, is recorded in any case.
"""

from __future__ import annotations

import time
from typing import Final

import structlog
from django.conf import settings

from activity import backlogs
from activity.backlog import bytes_here
from activity.errors import OutboxFull
from tenants.context import current

log = structlog.get_logger(__name__)

ASKED_AGAIN: Final = 2.0  # seconds for which a process takes an answer for granted
REMEMBERED: Final = 5_000

_until: dict[str, float] = {}


def check_room() -> None:
    """Raise OutboxFull when the active tenant has as much waiting as OUTBOX_FULL_MB, or its server as OUTBOX_SERVER_FULL_MB.

    The tenant's own size is asked of its database, so that it counts without Valkey too; the server's is what the last look found.
    """
    ref = current()
    now = time.monotonic()
    if _until.get(ref.id, 0.0) > now:
        return
    size = bytes_here()
    look = backlogs.last_look()
    if size >= settings.OUTBOX_FULL_MB * 1024 * 1024 or (look is not None and look.is_full(ref)):
        log.warning("events_refused", bytes=size)
        raise OutboxFull(owner=ref.slug, waiting_bytes=size)
    if len(_until) >= REMEMBERED:
        _until.clear()
    _until[ref.id] = now + ASKED_AGAIN

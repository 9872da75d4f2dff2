"""Long logs for the tests that need one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from activity import log
from activity.errors import LogUnavailable
from tenants.refs import Ref

PATIENCE: Final = 300.0  # seconds


def append_patiently(ref: Ref, events: Sequence[Mapping[str, Any]]) -> None:
    """Append events, again and again while the log is away, as the relay does: the embedded server pauses in logs of 700,000 and more."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return log.append(ref, events)
        except LogUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)

"""Proof files: a tenant's log with all that was signed of it, one JSON object a line. docs/activity.md has the format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
from django.conf import settings

from activity import log as activity_log
from activity.canonical import moment_text
from activity.chain.keys import ring
from activity.chain.statements import VERSION, Signed, Stretch, stretches
from activity.selectors import log_bounds
from activity.verify import entries, public_keys, statements
from tenants.refs import Ref


def proof_lines(ref: Ref, progress: Callable[[int, int], None] = lambda done, total: None) -> Iterator[bytes]:
    """The lines of the active tenant's proof file, in constant memory. Raises LogUnavailable, and Forged where nothing can be signed for.

    What MongoDB has is written as it is: whether that is what was signed, the reader finds out.
    """
    first, _ = log_bounds(ref)
    openings, points = statements()
    proven = stretches(ref.id, openings, points, public_keys())
    last = proven[-1].last if proven else first - 1
    yield _line({"kind": "export", **_shown(_export_statement(ref, first, last, proven))})
    for opening in openings:
        yield _line({"kind": "segment", **_shown(opening)})
    for point, prints in points:
        yield _line({"kind": "checkpoint", **_shown(point), "prints": prints.hex()})
    for documents in activity_log.stored(ref, first=first, last=last):
        yield b"".join(_event_lines(documents))
        if documents:
            progress(documents[-1]["seq"] - first + 1, last - first + 1)


def _export_statement(ref: Ref, first: int, last: int, proven: list[Stretch]) -> Signed:
    end = proven[-1].hash.hex() if proven and last >= first else ""
    said = {
        "version": VERSION, "kind": "export", "tenant": ref.id, "first": first, "last": last, "count": last - first + 1,
        "hash": end, "at": moment_text(datetime.now(UTC)),
    }  # fmt: skip
    return Signed.of(said, ring(settings.ACTIVITY_SIGNING_KEYS))


def _event_lines(documents: list[dict[str, Any]]) -> Iterator[bytes]:
    for document, entry in zip(documents, entries(documents), strict=True):
        stored = (entry.stored or b"").decode(errors="replace")
        yield _line({"kind": "event", "event": document, "canonical": stored, "hash": (entry.hash or b"").hex()})


def _shown(signed: Signed) -> dict[str, str]:
    return {"statement": signed.statement.decode(), "key": signed.key, "signature": signed.signature.hex()}


def _line(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, default=str, option=orjson.OPT_APPEND_NEWLINE)

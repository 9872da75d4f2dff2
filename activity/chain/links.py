"""The links of the chain: the canonical bytes of an event, and the hash that ties them to the event before.

link(n) = SHA-256(link(n - 1) + canonical bytes of event n). Before the first event of a segment stands SHA-256 of the statement that
opens it.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import orjson

# Of each link so many bytes are kept with the checkpoint, so that a false event is named and not only its range.
PRINT: Final = 4
# A moment is a text in the normal form; one that isn't must not pass for it.
_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME


def canonical(event: Mapping[str, Any]) -> bytes:
    """An event in its normal form and with its `seq` as bytes: JSON in UTF-8, without spaces, names sorted by their code points.

    Numbers are written in the shortest form that gives the same double back, so what Postgres and MongoDB return makes the same bytes.
    """
    return orjson.dumps(event, option=_OPTIONS)


def link(previous: bytes, canonical_bytes: bytes) -> bytes:
    """The hash of an event that follows the one with the hash `previous`."""
    return sha256(previous + canonical_bytes).digest()


def opening_link(statement: bytes) -> bytes:
    """What stands in the place of a previous hash before the first event of a segment."""
    return sha256(statement).digest()

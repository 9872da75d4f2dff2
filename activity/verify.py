"""Verifying the log of the active tenant: what MongoDB has, held against what was signed in Postgres."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings

from activity import log as activity_log
from activity import segments
from activity.canonical import moment_text
from activity.chain.keys import PublicKeys, ring
from activity.chain.links import canonical
from activity.chain.statements import Forged, Signed, Stretch, stretches
from activity.chain.walk import Bad, Entry, Walk
from activity.models import LogCheckpoint, LogHead, LogSegment
from activity.selectors import log_bounds
from tenants.refs import Ref

AT_ONCE: Final = 50_000  # events that a request verifies; more are a job's work

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a verification found: the first bad event, if any, and how many before it are as they were signed."""

    checked: int
    first_bad: Bad | None

    @property
    def valid(self) -> bool:
        """Whether every event is the one that was signed."""
        return self.first_bad is None


def public_keys() -> PublicKeys:
    """The public halves of the keys that have signed."""
    return ring(settings.ACTIVITY_SIGNING_KEYS).public


def statements() -> tuple[list[Signed], list[tuple[Signed, bytes]]]:
    """The signed openings of segments, and the checkpoints with their prints, of the active tenant."""
    openings = LogSegment.objects.order_by("number").values_list("statement", "key", "signature")
    points = LogCheckpoint.objects.order_by("last").values_list("statement", "key", "signature", "prints")
    return (
        [Signed(bytes(statement), key, bytes(signature)) for statement, key, signature in openings],
        [(Signed(bytes(told), key, bytes(signature)), bytes(prints)) for told, key, signature, prints in points],
    )


def verify(
    ref: Ref,
    *,
    saved: Mapping[str, Any] | None = None,
    progress: Callable[[dict[str, Any], int, int], None] | None = None,
) -> Outcome:
    """Verify the whole log of the active tenant (or control), `ref`. Raises LogUnavailable.

    `progress` is told after each portion from where one could go on, how many events are done, and how many there are. `saved` is what
    it was told, by an attempt that ended before its time.
    """
    while True:
        first, last = log_bounds(ref)
        outcome = _verify(ref, first, last, saved or {}, progress)
        if log_bounds(ref)[0] == first:
            return outcome
        saved = None  # events have left by their age meanwhile


def _verify(
    ref: Ref,
    first: int,
    last: int,
    saved: Mapping[str, Any],
    progress: Callable[[dict[str, Any], int, int], None] | None,
) -> Outcome:
    try:
        proven = stretches(ref.id, *statements(), public_keys())
    except Forged as forged:
        return Outcome(0, Bad(max(forged.seq, first), None, "forged"))
    walk = begin(proven, first, saved)
    for documents in activity_log.stored(ref, first=walk.position, last=walk.last):
        if not walk.take(entries(documents)):
            break
        if progress is not None:
            progress({"next": walk.position, "link": walk.link.hex()}, walk.position - first, walk.last - first + 1)
    bad = walk.finish()
    if bad is None and walk.last < last:
        bad = Bad(walk.last + 1, None, "forged")  # it was taken for acknowledged, and nothing was signed
    return Outcome(walk.position - first, bad or _beyond(ref))


def begin(proven: Sequence[Stretch], first: int, saved: Mapping[str, Any]) -> Walk:
    """A walk from the first event on, or from where an earlier attempt was."""
    if saved.get("next", 0) > first:
        return Walk(proven, first=saved["next"], link=bytes.fromhex(saved["link"]))
    return Walk(proven, first=first)


def entries(documents: Sequence[Document]) -> Iterator[Entry]:
    """What the walk looks at, from documents of the log; of these, the event's own fields are left."""
    for document in documents:
        take = document.pop
        take("_id")
        take("tenant")
        take("terms", None)
        stored, link = take("canonical", None), take("hash", None)
        try:
            document["at"] = moment_text(document["at"])
            own = canonical(document)
        except (TypeError, ValueError, KeyError, AttributeError):  # nothing that was ever recorded
            own = b""
        if type(stored) is not bytes or type(link) is not bytes:
            stored, link = _bytes(stored), _bytes(link)
        yield Entry(document.get("seq"), document.get("id"), own, stored, link)


def _bytes(value: Any) -> bytes | None:
    """What was stored, if it is of the type that is stored; anything else fits nothing."""
    return value if value is None or isinstance(value, bytes) else b""


def _beyond(ref: Ref) -> Bad | None:
    """An event that has a number which was never given."""
    while True:
        given, route = LogHead.objects.values_list("seq", "route").first() or (0, "")
        found = activity_log.beyond(ref, given)
        if found is None or route != segments.route(ref):  # the relay takes in what was there before a restore
            return None
        if found["seq"] > (LogHead.objects.values_list("seq", flat=True).first() or 0):
            return Bad(found["seq"], str(found.get("id")), "inserted")

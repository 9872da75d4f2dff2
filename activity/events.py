"""What happened, as small frozen values: each kind of event is a class with a fixed action and fields for its facts.

@dataclass(frozen=True, kw_only=True)
class ReportPublished(Event):
    action: ClassVar[str] = "report.published"
    pages: int

outbox.record(ReportPublished(target=Target("report", str(report.pk), report.title), pages=12))
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Target:
    """What it happened to. `name` is what people read, as it was then."""

    type: str
    id: str
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events. `action` is dotted and in lower case; the fields besides `target` are the event's data."""

    action: ClassVar[str]
    # Names of the fields that tell of a person, which erasing that person takes away; `target.name` and `ip` may be among them. The names
    # of members and operators, and the address of an actor who is one, are personal without being named.
    personal: ClassVar[frozenset[str]] = frozenset()

    target: Target | None = None

    def tells_of(self) -> str | None:
        """Of whom the personal fields tell, as type:id; None: of the target when that is a member or operator, else of such an actor."""
        return None

    def data(self) -> dict[str, Any]:
        """The facts of this kind of event by field name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "target"}


@dataclass(frozen=True, kw_only=True)
class LogRetentionChanged(Event):
    """The tenant keeps its events for another number of days; None: for as long as its plan does."""

    action: ClassVar[str] = "activity.retention_changed"
    former: int | None
    days: int | None

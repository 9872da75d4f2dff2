"""The tombstone: that somebody was erased, when and by whom. It names them by their digest; a member also by their id, a random one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from activity.events import Event


@dataclass(frozen=True, kw_only=True)
class MemberErased(Event):
    action: ClassVar[str] = "member.erased"
    subjects: list[str]  # digests, the person's own first

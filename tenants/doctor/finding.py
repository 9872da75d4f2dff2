"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report. `advice` says what to do and is empty when nothing is to be done."""

    check: str
    state: State
    found: str
    advice: str = ""


def reason(error: Exception) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())

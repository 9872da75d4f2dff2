"""What can be wrong with a development stack; each message is a sentence for the person at the terminal."""

from __future__ import annotations

from pathlib import Path


class DevstackError(Exception):
    """Base of the errors of the development stack."""


class FolderUnusable(DevstackError):
    """Raised when the data folder can't be written, isn't ours, is in use, or lacks what it can't be without."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"The data folder {path} {reason}")
        self.path = path


class PortInUse(DevstackError):
    """Raised when something else listens on a port that was asked for."""

    def __init__(self, port: int, user: str | None, advice: str) -> None:
        by = f" by {user}" if user else ""
        super().__init__(f"Port {port} is in use{by}: stop that, or {advice}.")
        self.port = port


class PartFailed(DevstackError):
    """Raised when a part doesn't become ready or a step of the set-up fails; carries the last lines of its log."""

    def __init__(self, name: str, reason: str, log: Path, tail: str) -> None:
        lines = f" Its last lines:\n{tail}\n" if tail else " "
        super().__init__(f"{name} {reason}.{lines}(all of it: {log})")
        self.name = name
        self.log = log

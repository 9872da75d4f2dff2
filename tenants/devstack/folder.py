"""The data folder: one owner at a time, a mark that it is ours, and what must outlive a start (secrets, ports)."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
from pathlib import Path
from typing import IO, Any

from tenants.devstack import ports
from tenants.devstack.errors import FolderUnusable

MARK = ".tenantry"


def write_atomically(path: Path, content: str) -> None:
    """Replace a file in one step, readable by its owner alone: readers see the old content or the new one."""
    new = path.with_name(f".{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


class DataFolder:
    """The folder that holds everything of one development stack. Opening it takes its lock; closing gives it back."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser().absolute()
        self.logs = self.path / "logs"
        self.run = self.path / "run"
        self.postgres = self.path / "postgres"
        self._lock: IO[str] | None = None

    def open(self) -> None:
        """Create what is missing and lock the folder. Raises FolderUnusable."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._claim()
            self._take_lock()
            for folder in (self.logs, self.run, self.postgres):
                folder.mkdir(exist_ok=True)
                folder.chmod(0o700)
        except OSError as error:
            self.close()
            raise FolderUnusable(
                self.path, f"can't be written ({error.strerror}): choose another with --data, or change its rights."
            ) from error

    def _claim(self) -> None:
        mark = self.path / MARK
        if mark.exists():
            return
        # A folder with only our temporary mark is one whose first start was killed before it had a mark.
        if any(entry.name != f".{MARK}.new" for entry in self.path.iterdir()):
            raise FolderUnusable(
                self.path,
                "holds files that aren't Tenantry's: choose an empty or a new one with --data; nothing was changed.",
            )
        write_atomically(mark, '{"format": 1}\n')

    def _take_lock(self) -> None:
        # flock is given back by the kernel however the process ends, and children don't inherit the descriptor.
        lock = (self.path / "lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip()
            lock.close()
            raise FolderUnusable(
                self.path,
                f"is in use by another run (pid {owner or 'unknown'}): stop that, or choose another with --data.",
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    @property
    def is_open(self) -> bool:
        """Whether this process holds the lock."""
        return self._lock is not None

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def secret(self, name: str) -> str:
        """A secret of this folder: made when it is first asked for, kept in a file that its owner alone can read."""
        path = self.path / "secrets.json"
        known: dict[str, str] = self._read(path)
        if name not in known:
            if not known and (self.postgres / "primary").exists():
                raise FolderUnusable(
                    self.path,
                    "has databases but no secrets.json to open them with: put it back, or start in an empty folder.",
                )
            known[name] = _make_secret(name)
            write_atomically(path, json.dumps(known, indent=1) + "\n")
        return known[name]

    def ports(self, *names: str) -> dict[str, int]:
        """A port for each name: the one of the last start when it is free, else another, remembered for the next."""
        path = self.path / "ports.json"
        known: dict[str, int] = self._read(path)
        for name in names:
            if name not in known or not ports.is_free(known[name]):
                known[name] = ports.free_port(set(known.values()))
        write_atomically(path, json.dumps(known, indent=1) + "\n")
        return {name: known[name] for name in names}

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise FolderUnusable(self.path, f"has a {path.name} that isn't JSON: put the right one back.") from error
        return dict(content)


def _make_secret(name: str) -> str:
    if name in {"credentials_keys", "activity_signing_keys"}:
        return "k1:" + base64.b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_urlsafe(48 if name == "secret_key" else 24)

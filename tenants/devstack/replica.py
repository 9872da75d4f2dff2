"""The embedded streaming replica: a copy of the primary that can always be made again."""

from __future__ import annotations

import os
import time
from typing import ClassVar

import psycopg

from tenants.devstack.folder import DataFolder
from tenants.devstack.ports import HOST
from tenants.devstack.postgres import SUPERUSER, Postgres, Primary


class Replica(Postgres):
    name = "postgres-replica"
    slot: ClassVar[str] = "replica"  # on the primary, and what its stream calls itself
    in_recovery = True

    def __init__(self, folder: DataFolder, port: int, primary: Primary, *, durable: bool = True) -> None:
        super().__init__(folder, port, durable=durable)
        self.primary = primary

    def prepare(self) -> None:
        """Copy the primary, which must be ready, unless a copy is there."""
        self._remove_half_made()
        if (self.data / "standby.signal").exists():
            return
        self._discard()
        self._write_passfile()
        self._drop_slot()
        self.run(
            "pg_basebackup",
            *("--dbname", self._conninfo(), "--no-password", "--pgdata", str(self.half_made)),
            *("--checkpoint", "fast", "--wal-method", "stream", "--create-slot", "--slot", self.slot),
            *(["--no-sync"] if not self.durable else []),
        )
        (self.half_made / "standby.signal").touch()
        if self.account.uid is not None:
            os.chown(self.half_made / "standby.signal", self.account.uid, self.account.uid)
        self.half_made.rename(self.data)

    def _discard(self) -> None:
        if self.data.exists():  # renamed first: killed in mid-way, what remains doesn't look like a replica
            self.data.rename(self.half_made)
            self._remove_half_made()

    def _drop_slot(self) -> None:
        # A backup that was killed leaves its slot behind, held for a moment by a walsender that doesn't know it yet.
        for _ in range(100):
            try:
                self.primary.execute(
                    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s",
                    self.slot,
                )
            except psycopg.errors.ObjectInUse:
                time.sleep(0.1)
            else:
                return

    def _conninfo(self) -> str:
        # The primary's port may be another one at each start, so this isn't kept in the data folder.
        return f"host={HOST} port={self.primary.port} user={SUPERUSER} passfile='{self.passfile}' application_name={self.slot}"

    def settings(self) -> dict[str, str]:
        return {
            **super().settings(),
            "primary_conninfo": self._conninfo(),
            "primary_slot_name": self.slot,
            "recovery_target_timeline": "latest",
            "wal_retrieve_retry_interval": "500ms",
        }

    def start(self) -> None:
        self._write_passfile()
        super().start()

    def is_streaming(self) -> bool:
        """Whether the primary sends it what it writes."""
        return bool(
            self.primary.execute(
                "SELECT 1 FROM pg_stat_replication WHERE application_name = %s AND state = 'streaming'", self.slot
            )
        )

    def follow(self, timeout: float = 10.0) -> None:
        """Return when it streams from the primary; one that doesn't within `timeout` seconds is copied again.

        Its place in the log may be gone, or it copies another primary; it holds nothing that the primary hasn't.
        Raises PartFailed when the new copy doesn't follow either.
        """
        if not self._streams_within(timeout):
            self.stop()
            self._discard()
            self.prepare()
            self.start()
            if not self._streams_within(self.ready_timeout):
                raise self.failure("doesn't follow the primary")
        self.wait_ready()

    def _streams_within(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while not self.is_streaming():
            if not self.is_alive or time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

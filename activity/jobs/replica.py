"""Reading for a job from a replica: one that has everything that was committed when the reading began."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import connection

from activity.jobs.run import Run
from tenants import context, reads
from tenants.refs import TenantRef
from tenants.servers import server_of

PATIENCE: Final = 2.0  # seconds in which a replica may catch up, before the primary serves


@contextmanager
def reading_from_replica(run: Run) -> Iterator[None]:
    """In the block, routed reads go to a replica that has all that is committed by now, where there is one; else to the primary.

    So does a second attempt: what broke off the first one may be the replica, which ends a reader that is in the way of its replay.
    """
    ref = context.current()
    if not isinstance(ref, TenantRef) or run.job.attempt > 1 or not server_of(ref.server).replicas:
        yield
        return
    with reads.reads_from_primary():
        reads.note_write()
        after = reads.read_after()
    with reads.reads_from_replica(after):
        until = time.monotonic() + PATIENCE
        while not connection.in_atomic_block and reads.replica_alias(ref) is None and time.monotonic() < until:
            run.check()
            time.sleep(0.05)
        yield

"""Whose job is next: first the tenant is chosen, then its job, so that whoever has few jobs waits for few.

Weighted fair queueing (Demers, Keshav and Shenker 1989; start-time clocks as in Goyal, Vin and Cheng 1996): each tenant has a virtual time,
which each of its jobs advances by 1 / weight, and the lowest one that has jobs waiting is next. One that comes back begins at the time of
those that wait, so that nobody saves up turns while idle. The choice reads one entry of an index, however many tenants wait.

All of it is in control and only about turns: what a job is, and who has it, is said by its row in the tenant's database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import connections, transaction

from tenants import workers
from tenants.models import Tenant
from tenants.refs import CONTROL

SETTLED_FOR: Final = 10  # seconds after which the sweep looks after a job that was given to a worker

_NEXT: Final = """
SELECT turn.owner, turn.tenant_id, tenant.plan, tenant.state
FROM tenants_jobturn AS turn LEFT JOIN tenants_tenant AS tenant ON tenant.id = turn.tenant_id
WHERE turn.is_waiting AND NOT turn.is_full AND NOT turn.is_paused
ORDER BY turn.turn, turn.owner LIMIT 1
FOR UPDATE OF turn {}
"""
# A statement of its own, so that it sees what was queued until the turn was locked: else a job that came meanwhile would be overlooked.
_TAKE: Final = f"""
WITH room AS (
    SELECT %(limit)s::int IS NULL OR %(limit)s > (
        SELECT count(*) FROM (SELECT FROM tenants_jobsummary WHERE {{0}} AND state = 'running' LIMIT %(limit)s) AS running
    ) AS is_free
), taken AS (
    UPDATE tenants_jobsummary SET state = 'running', worker = %(worker)s, due_at = statement_timestamp() + interval '{SETTLED_FOR} seconds'
    WHERE (SELECT is_free FROM room) AND id = (
        SELECT id FROM tenants_jobsummary
        WHERE {{0}} AND state = 'queued' AND due_at <= statement_timestamp() AND NOT EXISTS (
            SELECT FROM tenants_jobpause AS paused WHERE paused.kind = tenants_jobsummary.kind
        )
        ORDER BY priority DESC, created_at, id LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
    RETURNING id
), advanced AS (
    UPDATE tenants_jobturn SET is_full = NOT room.is_free,
        is_waiting = NOT room.is_free OR EXISTS (SELECT FROM taken),
        turn = turn + CASE WHEN EXISTS (SELECT FROM taken) THEN 1.0 / %(weight)s ELSE 0.0 END
    FROM room WHERE owner = %(owner)s
)
SELECT id FROM taken
"""  # noqa: S608  constants alone
_CLOSE: Final = "UPDATE tenants_jobturn SET is_waiting = false WHERE owner = %(owner)s"
# Written even when it changes nothing: it waits for who is looking at the turn, who might have counted the job that has just ended.
_MAKE_ROOM: Final = "UPDATE tenants_jobturn SET is_full = false WHERE owner = %(owner)s"
_WAIT: Final = """
INSERT INTO tenants_jobturn AS turn (owner, tenant_id, turn, is_waiting, is_full, is_paused)
VALUES (%(owner)s, %(tenant)s, coalesce(
    (SELECT min(turn) FROM tenants_jobturn WHERE is_waiting AND NOT is_full AND NOT is_paused),
    (SELECT max(turn) FROM tenants_jobturn), 0.0
), true, false, false)
ON CONFLICT (owner) DO UPDATE SET is_waiting = true,
    turn = CASE WHEN turn.is_waiting THEN turn.turn ELSE greatest(turn.turn, excluded.turn) END
"""
# What no worker told of: a job that was queued while control was away, a place that was held by one that died.
_FORGOTTEN: Final = f"""
SELECT DISTINCT summary.tenant_id FROM tenants_jobsummary AS summary
LEFT JOIN tenants_tenant AS tenant ON tenant.id = summary.tenant_id
LEFT JOIN tenants_jobturn AS turn ON turn.owner = coalesce(summary.tenant_id::text, '{CONTROL.id}')
WHERE summary.finished_at IS NULL AND summary.state = 'queued' AND summary.due_at <= statement_timestamp() AND turn.is_waiting IS NOT TRUE
    AND (summary.tenant_id IS NULL OR tenant.state = 'active')
    AND NOT EXISTS (SELECT FROM tenants_jobpause AS paused WHERE paused.kind = summary.kind)
LIMIT 200
"""  # noqa: S608
_FREE: Final = "UPDATE tenants_jobturn SET is_full = false WHERE is_full"
_ANYBODY: Final = "SELECT EXISTS (SELECT FROM tenants_jobturn WHERE is_waiting AND NOT is_full AND NOT is_paused)"


@dataclass(frozen=True, slots=True)
class Taken:
    """A job that this caller is to run, and the id of its tenant (or control's)."""

    job_id: UUID
    owner: str


def take() -> Taken | None:
    """The job whose turn it is; None when there is none. It counts as running from now on: run it. Raises django.db.DatabaseError."""
    while True:
        with transaction.atomic(using=CONTROL.alias):
            # Those that another worker is looking at are passed over; if there are no others, one waits for it.
            found = _one(_NEXT.format("SKIP LOCKED")) or _one(_NEXT.format(""))
            if found is None:
                return None
            owner, tenant_id, plan, state = found
            whose = "tenant_id IS NULL" if tenant_id is None else "tenant_id = %(tenant)s"
            facts = {
                "owner": owner,
                "tenant": tenant_id,
                "limit": settings.JOBS_AT_ONCE.get(plan),
                "weight": settings.JOB_WEIGHTS.get(plan) or 1,
                "worker": workers.name(),
            }
            if tenant_id is not None and state != Tenant.State.ACTIVE:
                _run(_CLOSE, facts)  # the sweep asks for it again once it is served
                continue
            taken = _one(_TAKE.format(whose), facts)
            if taken is not None:
                return Taken(taken[0], owner)


def wait(tenant_id: UUID | str | None) -> None:
    """Have a tenant (None: control) wait for its turn, which has a job to be done."""
    _run(_WAIT, {"owner": owner_of(tenant_id), "tenant": tenant_id})


def rest(owner: str) -> None:
    """Have a tenant that can't be reached wait until the sweep asks for it again, so that its jobs aren't tried one after the other."""
    _run(_CLOSE, {"owner": owner})


def make_room(tenant_id: UUID | str | None) -> None:
    """Say that one of a tenant's jobs no longer runs."""
    _run(_MAKE_ROOM, {"owner": owner_of(tenant_id)})


def repair() -> None:
    """Have those wait of whom nobody told, and look again at those that were full. For the sweep."""
    _run(_FREE)
    for (tenant_id,) in _all(_FORGOTTEN):
        wait(tenant_id)


def is_anybody_waiting() -> bool:
    """Whether somebody has jobs that may begin."""
    row = _one(_ANYBODY)
    return row is not None and bool(row[0])


def owner_of(tenant_id: UUID | str | None) -> str:
    """The id that a hint names: the tenant's, or control's for a job of its own."""
    return CONTROL.id if tenant_id is None else str(tenant_id)


def _run(statement: str, facts: dict[str, Any] | None = None) -> None:
    with connections[CONTROL.alias].cursor() as cursor:
        cursor.execute(statement, facts)


def _one(statement: str, facts: dict[str, Any] | None = None) -> tuple[Any, ...] | None:
    with connections[CONTROL.alias].cursor() as cursor:
        cursor.execute(statement, facts)
        row: tuple[Any, ...] | None = cursor.fetchone()
        return row


def _all(statement: str) -> list[tuple[Any, ...]]:
    with connections[CONTROL.alias].cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())

"""The statements that take a batch of rows in at once.

The rows that were good so far are kept beside, in accounts_importedrow, until the end: of an address that comes twice the first one
counts, however far apart the two are, and Postgres compares addresses, as the members' own index does.
"""

from __future__ import annotations

from collections.abc import Iterable
from secrets import token_hex
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from django.db import connection

from accounts.imports.rules import Values
from tenants.ids import new_id_text

Mode = Literal["create_and_update", "create_only"]

_STAGE: Final = "COPY accounts_importedrow (job_id, number, email, name, role, member_id) FROM STDIN"
# What COPY's text form would take for an end or for something else.
_ESCAPES: Final = str.maketrans(
    {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v"}
)

# Each look-up has its index; by statistics of rows that had one address the planner would read all that is kept, for each row. It goes with
# the first statement, since one of its own would be another round trip.
_BY_INDEX: Final = "SET LOCAL enable_seqscan = off;"

# These two are looked for one after the other, and what each finds leaves the rows that count. Neither joins rows that were kept with one
# another: the table fills and empties faster than Postgres takes its statistics, and by old ones it joins them one by one.

# Rows about owners aren't taken: an import makes none, and changes none. An index has the owners, who are few, so that not each address is
# looked up.
_OWNERS: Final = """
WITH owner AS MATERIALIZED (
    SELECT lower(email) AS address, name FROM accounts_user WHERE role = 'owner'
)
SELECT row.number, CASE WHEN owner.address IS NULL THEN 'role' ELSE 'email' END,
    CASE WHEN owner.address IS NULL THEN row.role ELSE row.email END,
    CASE WHEN owner.address IS NULL THEN 'An import makes no owners. Use admin, member or viewer, or leave it empty.'
        ELSE 'This is an owner, whom an import doesn''t change. Use the member''s own page.' END
FROM accounts_importedrow AS row LEFT JOIN owner ON owner.address = lower(row.email)
WHERE row.job_id = %(job)s AND row.number > %(after)s AND CASE
    WHEN owner.address IS NULL THEN row.role = 'owner'
    ELSE %(updates)s AND (coalesce(row.name, owner.name) <> owner.name OR coalesce(row.role, 'owner') <> 'owner')
END
"""
# An address is looked for among earlier batches once for a batch, so that a file of one address alone costs no more than another. The job
# and the number are compared as no index can: while statistics are those of other files, the planner takes the index of a job's numbers for
# as good as that of addresses, and walks all rows of the job for each one.
_REPEATS: Final = """
SELECT number, 'email', email, 'Row ' || first || ' has this address already; the first one counts.' FROM (
    SELECT number, email, min(coalesce(earlier, number)) OVER (PARTITION BY lower(email)) AS first FROM (
        SELECT number, email, CASE WHEN number = first THEN (
            SELECT min(earlier.number + 0) FROM accounts_importedrow AS earlier
            WHERE lower(earlier.email) = lower(batch.email)
                AND earlier.job_id IS NOT DISTINCT FROM %(job)s AND earlier.number + 0 <= %(after)s
        ) END AS earlier FROM (
            SELECT number, email, min(number) OVER (PARTITION BY lower(email)) AS first
            FROM accounts_importedrow WHERE job_id = %(job)s AND number > %(after)s
        ) AS batch
    ) AS looked_for
) AS numbered WHERE first < number
"""
_LEAVE: Final = (
    "DELETE FROM accounts_importedrow WHERE job_id = %(job)s AND number > %(after)s AND number = ANY(%(numbers)s)"
)

# LIMIT 1 has the planner look each address up in the index: joined freely it reads all members for each batch.
_BATCH: Final = """
WITH batch AS (
    SELECT row.number, row.email, row.name, row.role, row.member_id AS new_id, member.id AS member_id,
        %(updates)s AND member.role <> 'owner' AND (
            coalesce(row.name, member.name) <> member.name OR coalesce(row.role, member.role) <> member.role
        ) AS is_change
    FROM accounts_importedrow AS row
    LEFT JOIN LATERAL (
        SELECT id, name, role FROM accounts_user AS found WHERE lower(found.email) = lower(row.email) LIMIT 1
    ) AS member ON true
    WHERE row.job_id = %(job)s AND row.number > %(after)s
)
"""
# Those who would be new and for whom there is no room any more: the first rows have it.
_TOO_MANY: Final = f"""{_BATCH}
SELECT number, 'email', email, %(too_many)s FROM (
    SELECT number, email, row_number() OVER (ORDER BY number) AS place FROM batch WHERE member_id IS NULL
) AS new WHERE place > %(room)s
ORDER BY number
"""  # noqa: S608  constants alone
_TAKE: Final = f"""{_BATCH}
, created AS (
    INSERT INTO accounts_user
        (id, email, name, role, password, is_active, is_staff, is_superuser, created_at, session_epoch)
    SELECT coalesce(new_id, uuidv7()), email, coalesce(name, ''), coalesce(role, 'member'), '!' || md5(%(salt)s || number),
        true, false, false, now(), 0
    FROM batch WHERE member_id IS NULL ORDER BY number
    ON CONFLICT (lower(email)) DO NOTHING
    RETURNING 1
), updated AS (
    UPDATE accounts_user AS member
    SET name = coalesce(batch.name, member.name), role = coalesce(batch.role, member.role)
    FROM batch
    WHERE member.id = batch.member_id AND batch.is_change AND member.role <> 'owner'
    RETURNING 1
)
SELECT (SELECT count(*) FROM created), (SELECT count(*) FROM updated), (SELECT count(*) FROM batch)
"""  # noqa: S608  constants alone
# What _TAKE would answer; it writes nothing.
_FORESEE: Final = f"""{_BATCH}
SELECT count(*) FILTER (WHERE member_id IS NULL), count(*) FILTER (WHERE is_change), count(*) FROM batch
"""  # noqa: S608


class Room(NamedTuple):
    """For how many more members there is room, and what is said of the others."""

    members: int
    sentence: str


class Taken(NamedTuple):
    """What became of a batch. `refused` has row, column, value and reason of those that could not be taken after all."""

    created: int
    updated: int
    unchanged: int
    refused: list[tuple[int, str, str, str]]


def line(job: UUID, number: int, values: Values) -> str:
    """A good row as `take` takes it: a line of COPY's text form."""
    email, name, role = values
    return f"{job}\t{number}\t{_escaped(email)}\t{_escaped(name)}\t{_escaped(role)}\t{new_id_text()}\n"


def take(job: UUID, lines: Iterable[str], *, after: int, mode: Mode, dry_run: bool, room: Room | None = None) -> Taken:
    """Take good rows in, those behind `after`, inside the caller's transaction; with `dry_run` say what would become of them.

    Beyond the `room` there is, if that is limited, those who aren't members yet are refused.
    """
    facts: dict[str, Any] = {"job": job, "after": after, "updates": mode == "create_and_update", "salt": token_hex()}
    refused: list[tuple[int, str, str, str]] = []
    with connection.cursor() as cursor:
        with cursor.copy(_STAGE) as copy:
            copy.write("".join(lines))
        for statement in (f"{_BY_INDEX}{_OWNERS}", _REPEATS):
            refused += _leave(cursor, statement, facts)
        if room is not None:
            refused += _leave(cursor, _TOO_MANY, {**facts, "room": room.members, "too_many": room.sentence})
        cursor.execute(_FORESEE if dry_run else _TAKE, facts)
        created, updated, taken = cursor.fetchone()
    return Taken(created, updated, taken - created - updated, refused)


def _leave(cursor: Any, statement: str, facts: dict[str, Any]) -> list[tuple[int, str, str, str]]:
    """What the statement finds, which doesn't count any more."""
    cursor.execute(statement, facts)
    while cursor.nextset():  # past what came before it, as _BY_INDEX does
        pass
    found: list[tuple[int, str, str, str]] = cursor.fetchall()
    if found:
        cursor.execute(_LEAVE, {**facts, "numbers": [number for number, *_ in found]})
    return found


def _escaped(value: str | None) -> str:
    if value is None:
        return "\\N"
    return value if value.isprintable() and "\\" not in value else value.translate(_ESCAPES)

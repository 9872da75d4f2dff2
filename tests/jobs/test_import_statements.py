"""What a batch costs doesn't grow with the batches before it, however old the statistics of the table are in which rows are kept."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from uuid import uuid4

import pytest
from django.db import connection

from accounts.imports import batches
from accounts.imports.rules import Values
from tenants.refs import TenantRef
from tests.jobs.conftest import NOBODY

SIZE = 5_000


def rows_visited() -> int:
    """Of the table in which rows are kept, by this transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = 'accounts_importedrow'"
        )
        visited: int = cursor.fetchone()[0]
    return visited


def of_many_jobs() -> None:
    """Taken of files of a row each."""
    _take_statistics("uuidv7()", 60_000)


def of_another_job() -> None:
    """Taken of a large file that was taken in before this one: nobody has seen this job's id."""
    _take_statistics(f"'{uuid4()}'::uuid", 60_000)


def of_a_small_job() -> None:
    _take_statistics(f"'{uuid4()}'::uuid", 5_000)


def of_a_tiny_job() -> None:
    _take_statistics(f"'{uuid4()}'::uuid", 20)


def of_one_address() -> None:
    """Taken while many jobs had the same address."""
    _take_statistics("uuidv7()", 60_000, email="'ann@before.example'")


def of_one_address_in_a_few_jobs() -> None:
    _take_statistics("uuidv7()", 20, email="'ann@before.example'")


def of_nothing() -> None:
    """Taken while there was nothing."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE accounts_importedrow")


def _take_statistics(job: str, rows: int, *, email: str = "number || '@before.example'") -> None:
    """What had been kept is thrown away behind them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_importedrow (job_id, number, email)"
            f" SELECT {job}, number, {email} FROM generate_series(1, {rows}) AS number"
        )
        cursor.execute("ANALYZE accounts_importedrow")
        cursor.execute("DELETE FROM accounts_importedrow")


STATISTICS = [
    of_many_jobs,
    of_another_job,
    of_a_small_job,
    of_a_tiny_job,
    of_one_address,
    of_one_address_in_a_few_jobs,
    of_nothing,
]


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize(
    ("values", "created"),
    [
        (lambda number: (f"p{number}@example.com", None, "member"), [SIZE] * 3),
        (lambda number: ("ann@example.com", None, None), [1, 0, 0]),
        (lambda number: (f"p{number}@example.com", None, "owner"), [0] * 3),
    ],
    ids=["all new", "one address", "all owners"],
)
def test_a_batch_visits_a_row_a_few_times_whatever_the_statistics_say(
    tenant: TenantRef, statistics: Callable[[], None], values: Callable[[int], Values], created: list[int]
) -> None:
    statistics()
    visits, seen = [rows_visited()], []
    for after in itertools.islice(itertools.count(0, SIZE), 3):
        numbers = range(after + 1, after + SIZE + 1)
        lines = [batches.line(NOBODY, number, values(number)) for number in numbers]
        taken = batches.take(NOBODY, lines, after=after, mode="create_and_update", dry_run=False)
        seen.append(taken.created)
        assert taken.created + len(taken.refused) == SIZE
        visits.append(rows_visited())
    assert seen == created
    assert all(later - earlier <= 5 * SIZE for earlier, later in itertools.pairwise(visits)), visits

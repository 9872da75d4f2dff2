"""What a batch costs doesn't grow with the batches before it, however old the statistics of the table are in which rows are kept."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from django.db import connection

from accounts.imports import batches
from accounts.imports.rules import Values
from tenants.refs import TenantRef
from tests.jobs.conftest import NOBODY

SIZE = 2_000


def rows_visited() -> int:
    """Of the table in which rows are kept, by this transaction."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = 'accounts_importedrow'"
        )
        visited: int = cursor.fetchone()[0]
    return visited


@pytest.fixture
def statistics_of_a_file_before(tenant: TenantRef) -> None:
    """As they are when a file was taken in, the statistics were taken, and what had been kept was thrown away."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_importedrow (job_id, number, email)"
            " SELECT uuidv7(), number, number || '@before.example' FROM generate_series(1, 60000) AS number"
        )
        cursor.execute("ANALYZE accounts_importedrow")
        cursor.execute("DELETE FROM accounts_importedrow")


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
    statistics_of_a_file_before: None, values: Callable[[int], Values], created: list[int]
) -> None:
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

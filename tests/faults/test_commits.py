"""What a job costs its tenant's database: two commits, to claim it and to finish it, and one for each of its steps."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from activity.jobs.runner import run_job
from activity.jobs.services import job_start
from tenants.refs import TenantRef
from tests.jobs.kinds import Kinds, kinds  # noqa: F401  a fixture

pytestmark = pytest.mark.xdist_group("celery")  # its jobs are no worker's but the test's own

WRITES = ("INSERT", "UPDATE", "DELETE", "WITH", "COPY", "TRUNCATE")


def commits(statements: list[str]) -> int:
    """How many transactions that wrote were committed: blocks, and what was written outside of one."""
    count, in_block, wrote = 0, False, False
    for statement in statements:
        word = statement.split(maxsplit=1)[0].rstrip(";").upper()
        if word == "BEGIN":
            in_block, wrote = True, False
        elif word == "COMMIT":
            count += wrote
            in_block = False
        elif word in WRITES:
            count += not in_block
            wrote = True
    return count


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_claim_and_finish_are_two_commits(acme_entered: TenantRef, kinds: Kinds, steps: int) -> None:  # noqa: F811
    def work(run: Any, params: Any) -> None:
        for _ in range(steps):
            with run.step():
                run.done += 1

    job = job_start(kind=kinds.add(work))
    with CaptureQueriesContext(connection) as queries:
        assert run_job(job.pk) == "succeeded"
    statements = [query["sql"] for query in queries]
    assert commits(statements) == 2 + steps
    assert sum("UPDATE" in statement and "jobs_job" in statement for statement in statements) == 2 + steps


def test_the_count_is_one_of_commits() -> None:
    """The control: a job that is finished and then told of in a transaction of its own would be three."""
    assert commits(["UPDATE a", "BEGIN", "UPDATE a", "INSERT b", "COMMIT", "INSERT b"]) == 3
    assert commits(["SELECT 1", "BEGIN", "SELECT 1", "COMMIT"]) == 0

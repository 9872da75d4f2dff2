"""A tenant that a real worker works in: what these tests write is committed, and removed at the end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.db import connection

from accounts.models import ImportedRow, User
from activity.jobs.models import Job
from activity.models import OutboxEvent
from tenants.context import use_control, use_tenant
from tenants.models import JobSummary, JobTurn
from tenants.refs import TenantRef
from tests.notes.models import Note
from tests.operations.processes import ROOT


@pytest.fixture
def collected_static_for_faults() -> None:
    """The static files where `web` serves them from."""
    if not (Path(settings.STATIC_ROOT) / "staticfiles.json").exists():
        command = [sys.executable, "manage.py", "collectstatic", "--noinput", "--verbosity", "0"]
        subprocess.run(command, cwd=ROOT, check=True)


@pytest.fixture
def acme_entered(committed_tenant: TenantRef, django_db_blocker: Any) -> Iterator[TenantRef]:
    """`acme` as a request has it, without a transaction, and an empty queue."""
    redis.Redis.from_url(settings.CELERY_BROKER_URL).flushdb()
    with django_db_blocker.unblock(), use_tenant(committed_tenant):
        yield committed_tenant
        tables = [model._meta.db_table for model in (OutboxEvent, Note, Job, ImportedRow, User)]
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {', '.join(tables)} CASCADE")
        with use_control():  # what is left there would have turns
            JobSummary.objects.all().delete()
            JobTurn.objects.all().delete()

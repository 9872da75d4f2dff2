"""Tasks of the tests' own."""

from __future__ import annotations

from celery import shared_task
from django.contrib.auth.models import Group

from tenants.task import TenantTask


@shared_task(base=TenantTask, name="tests.count_groups")
def count_groups(**later: object) -> int:
    """How many groups the tenant has."""
    return Group.objects.count()

"""A relay in a process of its own, to be killed: `python -m tests.activity.relay_process <tenant id> [careless]`."""

from __future__ import annotations

import sys

import django

django.setup()

from django.db import transaction  # noqa: E402

from activity import log  # noqa: E402
from activity.models import LogHead, OutboxEvent  # noqa: E402
from activity.relay import relay  # noqa: E402
from tenants import context, directory  # noqa: E402
from tenants.refs import TenantRef  # noqa: E402


def careless_relay(ref: TenantRef) -> None:
    """The control: it deletes what it is about to append, which is one commit simpler."""
    with transaction.atomic():
        rows = list(OutboxEvent.objects.order_by("id"))
        OutboxEvent.objects.all().delete()
        LogHead.objects.create(seq=len(rows), appended=len(rows))
    log.append(ref, [{**row.document, "seq": seq} for seq, row in enumerate(rows, start=1)])


if __name__ == "__main__":
    with context.use_control():
        tenant = directory.by_id(sys.argv[1])
    with context.use_tenant(tenant):
        (careless_relay if "careless" in sys.argv else relay)(tenant)

"""A delivery in a process of its own, to be killed: `python -m tests.webhooks.deliver_process <tenant id> [careless]`."""

from __future__ import annotations

import sys
from contextlib import nullcontext

import django

django.setup()

from django.db import transaction  # noqa: E402

from activity.webhooks.delivery import deliver_due  # noqa: E402
from tenants import context, directory  # noqa: E402

if __name__ == "__main__":
    with context.use_control():
        tenant = directory.by_id(sys.argv[1])
    # The control keeps what it is about to send in a transaction, as if message and outcome were one step.
    around = transaction.atomic if "careless" in sys.argv else nullcontext
    with context.use_tenant(tenant), around():
        deliver_due(tenant, may_go_on=lambda: True)

"""The Celery application: `celery -A config worker` and `celery -A config beat`.

A message is a hint and the row in Postgres is the truth: messages may be lost, repeated or late, and nothing depends
on one.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import structlog
from celery import Celery, signals
from django.dispatch import receiver
from django_structlog.celery import signals as publish_signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
if "celery" in Path(sys.argv[0]).parts[-2:]:  # the `celery` command, or `python -m celery`
    os.environ.setdefault("TENANTRY_PROCESS", "beat" if "beat" in sys.argv else "worker")

app = Celery("tenantry", task_cls="tenants.task:TenantTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.steps["worker"].add("django_structlog.celery.steps:DjangoStructLogInitStep")

_DRAIN_SECONDS = 5.0


@signals.setup_logging.connect
def _leave_logging_to_django(**_: Any) -> None:
    """With a receiver here, Celery sets up no logging of its own; Django's set-up did it (tenants.logs)."""


@signals.worker_init.connect
@signals.beat_init.connect
def _start(**_: Any) -> None:
    from tenants import metrics, metrics_folder, usage

    metrics_folder.wipe()
    metrics.start_sampler()
    usage.start_flusher()  # of a pool without processes, whose tasks run here


@signals.worker_process_init.connect
def _start_child(**_: Any) -> None:
    from tenants import metrics, usage

    metrics.start_sampler()
    usage.start_flusher()


@signals.worker_process_shutdown.connect
@signals.worker_shutdown.connect
def _drain(**_: Any) -> None:
    from tenants import clients

    clients.close_all(timeout=_DRAIN_SECONDS)


@receiver(publish_signals.modify_context_before_task_publish)
def _send_own_headers_alone(context: dict[str, Any], **_: Any) -> None:
    context.clear()  # tenants.task puts the tenant and the request id into the message


@receiver(publish_signals.bind_extra_task_metadata)
def _bind_task(task: Any, **_: Any) -> None:
    """The line that says how a task ended is written after it left its tenant: it gets the facts from here."""
    from tenants import directory
    from tenants.errors import TenantNotFound

    tenant = getattr(task.request, "tenant", None) or "control"
    if tenant != "control":
        with contextlib.suppress(TenantNotFound):  # it was deleted since: its id must do
            tenant = directory.by_id(tenant).slug
    structlog.contextvars.bind_contextvars(
        task=task.name, tenant=tenant, request_id=getattr(task.request, "request_id", None)
    )


@signals.task_prerun.connect
def _note_start(task: Any, **_: Any) -> None:
    task.request.tenantry_started = time.perf_counter()


@signals.task_postrun.connect
def _measure(task: Any, state: str | None = None, **_: Any) -> None:
    from tenants import metrics

    started = getattr(task.request, "tenantry_started", None)
    if started is not None:
        outcome = {"SUCCESS": "succeeded", "RETRY": "retried"}.get(state or "", "failed")
        metrics.observe_task(task=task.name, outcome=outcome, seconds=time.perf_counter() - started)

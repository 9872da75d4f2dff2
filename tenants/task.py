"""The Celery base of every task: a task is treated like a request. It enters its tenant, runs, and gives the connections back."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import structlog
from celery import Task

from tenants import context, directory, hints, reads
from tenants.errors import NoTenant, TenantNotFound, TenantSuspended
from tenants.refs import CONTROL, Ref, TenantRef


class TenantTask(Task[Any, Any]):
    """Runs in the tenant that its message names (header `tenant`: an id, or `control`). Raises NoTenant without one.

    `reads = "replica"` lets a task read from a replica that has what its sender wrote; the default is the primary.
    `runs_in_control = True` is for beat's tasks, whose messages have no sender: they enter control.
    """

    reads = "primary"
    runs_in_control = False
    # Expected: a tenant that is in the making, suspended or gone has no tasks now. It is a warning without a traceback.
    throws = (TenantNotFound, TenantSuspended)

    def apply_async(self, args: Any = None, kwargs: Any = None, *more: Any, **options: Any) -> Any:
        """Send the task for the active tenant. Raises NoTenant when nobody is active."""
        headers = dict(options.pop("headers", None) or {})
        if not (self.runs_in_control and context.active() is None):
            headers = {**hints.headers_of_caller(), **headers}
        return super().apply_async(args, kwargs, *more, headers=headers, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        headers = self._headers()
        ref = self._ref(headers)
        with ExitStack() as stack:
            stack.enter_context(context.use(ref))
            stack.enter_context(
                structlog.contextvars.bound_contextvars(
                    tenant=ref.slug, task=self.name, task_id=self.request.id, request_id=headers.get("request_id")
                )
            )
            if self.reads == "replica":
                stack.enter_context(reads.reads_from_replica(headers.get("read_after")))
            else:
                stack.enter_context(reads.reads_from_primary())
            return super().__call__(*args, **kwargs)

    def _headers(self) -> Mapping[str, Any]:
        """The message's own headers, which Celery lays into the request."""
        return {name: getattr(self.request, name, None) for name in ("tenant", "request_id", "read_after")}

    def _ref(self, headers: Mapping[str, Any]) -> Ref:
        tenant = headers.get("tenant")
        if tenant == CONTROL.id or (tenant is None and self.runs_in_control):
            return CONTROL
        if tenant is None:
            raise NoTenant(f"The task {self.name}")
        ref: TenantRef = directory.by_id(tenant)
        if ref.state != "active":
            raise TenantSuspended(slug=ref.slug, state=ref.state)
        return ref

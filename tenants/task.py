"""The Celery base of every task: a task is treated like a request. It enters its tenant, runs, and gives the connections back."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import structlog
from celery import Task
from celery._state import get_current_task

from tenants import context, directory, hints, reads
from tenants.errors import NoTenant, TenantNotFound, TenantSuspended
from tenants.refs import CONTROL, Ref, TenantRef


class TenantTask(Task[Any, Any]):
    """Runs in the tenant that its message names (header `tenant`: an id, or `control`). Raises NoTenant without one.

    Celery lays a message's headers into the task's request.

    `reads = "replica"` lets a task read from a replica that has what its sender wrote; the default is the primary.
    `runs_in_control = True` is for beat's tasks, whose messages have no sender: they enter control.
    """

    reads = "primary"
    runs_in_control = False
    # Expected: a tenant that is in the making, suspended or gone has no tasks now. It is a warning without a traceback.
    throws = (TenantNotFound, TenantSuspended)

    def apply_async(self, args: Any = None, kwargs: Any = None, *more: Any, **options: Any) -> Any:
        """Send the task for the active tenant, or for that of the task which it follows. Raises NoTenant when there is neither."""
        headers = dict(options.pop("headers", None) or {})
        is_told = self.runs_in_control or "tenant" in headers  # beat names a tenant in an entry's options
        if not is_told or context.active() is not None:
            headers = {**_headers_of_sender(), **headers}
        return super().apply_async(args, kwargs, *more, headers=headers, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        request: Any = self.request  # asked for once: each time, Celery looks it up by thread
        ref = self._ref(getattr(request, "tenant", None))
        request_id = getattr(request, "request_id", None)
        with ExitStack() as stack:
            stack.enter_context(context.use(ref))
            stack.enter_context(
                structlog.contextvars.bound_contextvars(
                    tenant=ref.slug, task=self.name, task_id=request.id, request_id=request_id
                )
            )
            if self.reads == "replica":
                stack.enter_context(reads.reads_from_replica(getattr(request, "read_after", None)))
            else:
                stack.enter_context(reads.reads_from_primary())
            try:
                return super().__call__(*args, **kwargs)
            finally:
                # What follows is sent when the task has left its tenant.
                if request.chain or request.chord or request.callbacks or request.errbacks:
                    request.tenantry_left = hints.headers_of_caller()

    def _ref(self, tenant: str | None) -> Ref:
        if tenant == CONTROL.id or (tenant is None and self.runs_in_control):
            return CONTROL
        if tenant is None:
            raise NoTenant(f"The task {self.name}")
        ref: TenantRef = directory.by_id(tenant)
        if ref.state != "active":
            raise TenantSuspended(slug=ref.slug, state=ref.state)
        return ref


def _headers_of_sender() -> dict[str, str]:
    """Those of whoever is active, else of the task that has just left its tenant: the next one of its chain, or its chord's, goes on there.

    Raises NoTenant.
    """
    task: Task[Any, Any] | None = get_current_task()
    if context.active() is None and task is not None:
        left: dict[str, str] | None = getattr(task.request, "tenantry_left", None)
        if left is not None:
            return left
    return hints.headers_of_caller()

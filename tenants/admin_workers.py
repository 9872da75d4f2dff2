"""The operators' page of workers: which of them answer, and the jobs that each one runs now, whoever's they are."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest
from django.template.response import TemplateResponse

from tenants import workers
from tenants.models import JobSummary

MOST: Final = 500  # jobs


@dataclass(frozen=True, slots=True)
class WorkerUse:
    """A worker and what it runs. One that has jobs and doesn't answer has died or is cut off: others take its jobs over."""

    name: str
    worker: workers.Worker | None
    jobs: list[JobSummary]


def page(request: HttpRequest, context: dict[str, Any]) -> TemplateResponse:
    """`/admin/workers/`."""
    answering = workers.answering()
    running = JobSummary.objects.filter(state="running", finished_at=None).select_related("tenant")
    jobs = defaultdict(list)
    for job in running.order_by("worker", "created_at")[:MOST]:
        jobs[job.worker.partition(" ")[0]].append(job)
    known = {worker.name: worker for worker in answering or ()}
    uses = [WorkerUse(name, known.get(name), jobs[name]) for name in sorted({*known, *jobs})]
    facts = {"title": "Workers", "uses": uses, "is_broker_away": answering is None}
    return TemplateResponse(request, "admin/workers.html", {**context, **facts})

"""The page on which the log is verified. Who may see and use it is said where it is routed."""

from __future__ import annotations

from typing import Any, cast

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from activity import retention, selectors, verify
from activity.errors import RetentionInvalid
from activity.jobs.services import job_start
from activity.proof.jobs import PROOF, VERIFY
from activity.proof.selectors import checkpoint_latest, outcome_of, verification_latest, verification_running


def proof(request: HttpRequest) -> HttpResponse:
    """How far the log is signed, the latest verification, and what else there is to do. It is asked for each second while one runs."""
    job = verification_latest()
    facts: dict[str, Any] = {"job": job, "outcome": outcome_of(job)}
    if getattr(request, "htmx", None):
        return render(request, "proof/verification.html", facts)
    ref = cast(Any, request).tenant
    first, last = selectors.log_bounds(ref)
    facts |= {
        "total": last - first + 1,
        "first": first,
        "last": last,
        "checkpoint": checkpoint_latest(),
        "keys": verify.public_keys().texts(),
        "plan_days": retention.plan_days(ref),
        "kept_days": retention.kept_days(ref),
    }
    return render(request, "proof/proof.html", facts)


def verification_start(request: HttpRequest) -> HttpResponse:
    """Verify the whole log as a job, unless one does so already."""
    if verification_running() is None:
        job_start(kind=VERIFY)
    return redirect("activity_proof")


def proof_file_start(request: HttpRequest) -> HttpResponse:
    """Write a proof file as a job."""
    return redirect("job_detail", job_start(kind=PROOF).pk)


def retention_update(request: HttpRequest) -> HttpResponse:
    """Keep events for another number of days; empty: for as long as the plan does."""
    given = request.POST.get("days", "").strip()
    try:
        if given and not (given.isascii() and given.isdecimal() and len(given) < 10):
            raise RetentionInvalid("Give a whole number of days, or nothing for what the plan keeps.")
        retention.retention_change(cast(Any, request).tenant, days=int(given) if given else None)
    except RetentionInvalid as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, "Saved. What is older leaves the log in the coming night.")
    return redirect("activity_proof")

"""Erasing a person, and doing it again after a restore.

Their key is destroyed as soon as the erasure has committed: once processes have forgotten it, nothing that was recorded of them can be
read, wherever it was copied to. A job does the rest (activity.erasure.jobs).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.utils.module_loading import import_string

from activity import log as activity_log
from activity.canonical import MAX_ID, MAX_TYPE
from activity.context import Actor, circumstances, recording_as
from activity.erasure import forget, index
from activity.erasure.errors import ErasureRefused
from activity.erasure.events import MemberErased
from activity.erasure.forget import KIND
from activity.events import Target
from activity.jobs.models import Job
from activity.jobs.services import job_start
from activity.models import OutboxEvent
from activity.outbox import record
from activity.personal import PEOPLE
from activity.search import Query
from activity.selectors import log_bounds
from tenants import context, subject_keys
from tenants.errors import SubjectKeysUnavailable
from tenants.refs import Ref

log = structlog.get_logger(__name__)

_SUBJECT: Final = re.compile(rf"[a-z][a-z0-9_.-]{{0,{MAX_TYPE - 1}}}:[^\x00]{{1,{MAX_ID}}}")


def erase_subject(subject: str, *, by: Actor | None = None) -> Job:
    """Erase a person (`type:id`) from the events of the active tenant, or of control, in the name of `by` or of whoever acts.

    Answers the job; asked again the former one, unless that failed. Raises ErasureRefused, LogUnavailable and SubjectKeysUnavailable, and
    then nothing is done.
    """
    if not _SUBJECT.fullmatch(subject):
        raise ErasureRefused("Name the person as type:id, as the log does.", status=422)
    ref = context.current()
    whose: Sequence[str] = import_string(settings.ERASURE_SUBJECTS)(subject)
    subjects = [subject_keys.digest(ref, each) for each in dict.fromkeys(whose)]
    around = circumstances() if by is None else replace(circumstances(), actor=by)
    with recording_as(around), transaction.atomic():
        _lock(subjects[0])
        former = Job.objects.filter(kind=KIND, params__subjects__0=subjects[0]).order_by("created_at", "id").last()
        if former is not None and former.state not in {Job.State.FAILED, Job.State.CANCELLED}:
            return former
        job = job_start(kind=KIND, params={"subjects": subjects})
        if former is None and subjects[0] not in subject_keys.ledger(ref):
            kind, _, identity = whose[0].partition(":")
            target = Target(kind, identity) if kind in PEOPLE else Target("person", subjects[0])
            record(MemberErased(target=target, subjects=subjects))
        transaction.on_commit(partial(_destroy_now, ref, subjects, f"{around.actor.type}:{around.actor.id}"))
    return job


def _lock(subject: str) -> None:
    """Of two who erase the same person at once the second finds the first one's job."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [int(subject[:15], 16)])


def _destroy_now(ref: Ref, subjects: Sequence[str], by: str) -> None:
    try:
        subject_keys.destroy(ref, subjects, by=by)
    except SubjectKeysUnavailable as error:
        log.warning("erasure_waits", reason=error.reason)  # for the job, which has committed


def replay_erasures(ref: Ref) -> int:
    """Erase everybody again who ever was, from the active tenant (or control), `ref`; answers how many. Call it after each restore.

    Whom to erase is in the ledger, and in the tombstones, for a restore of control may have taken the ledger back. Raises LogUnavailable
    and SubjectKeysUnavailable.
    """
    subjects = list(dict.fromkeys([*subject_keys.ledger(ref), *_tombstones(ref)]))
    if subjects:
        subject_keys.destroy(ref, subjects, by="system:restore")
        index.settle(ref)
        index.take_out(ref, subjects)
        with transaction.atomic():
            forget.forget(subjects)
        subject_keys.finish(ref, subjects)
        log.info("erasures_replayed", people=len(subjects))
    return len(subjects)


def _tombstones(ref: Ref) -> list[str]:
    found: list[str] = []
    waiting = OutboxEvent.objects.filter(document__action=MemberErased.action)
    for document in waiting.order_by("id").values_list("document", flat=True):
        found += document["data"]["subjects"]
    first, head = log_bounds(ref)
    cursor, query = None, Query(action=MemberErased.action, order="oldest")
    while True:
        page = activity_log.page(ref, first=first, head=head, query=query, cursor=cursor, limit=100)
        for document in page.items:
            found += document["data"]["subjects"]
        cursor = page.next
        if cursor is None:
            return found

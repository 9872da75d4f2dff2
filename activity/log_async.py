"""The log read in an event loop: what activity.log does in threads, without one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from pymongo import ASCENDING
from pymongo.errors import ExecutionTimeout

from activity import mongo, mongo_async, personal
from activity.log import READ_TIMEOUT, Document, Question, Walk, item
from activity.models import LogHead
from activity.search import Query
from tenants.context import use_tenant
from tenants.db import aio
from tenants.refs import TenantRef


async def bounds_of(ref: TenantRef) -> tuple[int, int]:
    """The numbers of a tenant's first and last event, between which all are in the log; (1, 0) when there is none."""
    with use_tenant(ref):
        return await aio.fetch_one(LogHead.objects.values_list("first", "appended")) or (1, 0)


async def head_of(ref: TenantRef) -> int:
    """The number of a tenant's last event."""
    return (await bounds_of(ref))[1]


async def widened(ref: TenantRef, query: Query) -> Query:
    """See activity.personal.widened; in a thread, as control may have to be asked."""
    return await asyncio.to_thread(personal.widened, ref, query) if query.actor or query.target else query


async def take(walk: Walk, limit: int) -> list[Document]:
    """The next documents of a walk; see activity.log.take. Raises LogUnavailable."""
    with mongo.reachable(), closing(walk.steps(limit)) as steps:
        try:
            question = next(steps)
            while True:
                try:
                    documents = await _ask(question)
                except ExecutionTimeout as error:
                    question = steps.throw(error)
                else:
                    question = steps.send(documents)
        except StopIteration:
            return walk.found


async def behind(ref: TenantRef, seq: int, limit: int) -> list[Document]:
    """Those of the next `limit` numbers behind `seq` that the log has. Raises LogUnavailable."""
    where: Document = {"tenant": ref.id, "seq": {"$gt": seq, "$lte": seq + limit}}
    with mongo.reachable():
        return await _ask(Question(where, [("seq", ASCENDING)], limit))


async def items(ref: TenantRef, documents: Sequence[Document]) -> list[dict[str, Any]]:
    """Documents as the API shows them. Whatever a loop gives out passes here. Raises SubjectKeysUnavailable.

    In a thread where something personal is in them: it takes control's keys, and time.
    """
    found = [item(document) for document in documents]
    if not any(personal.subjects_in(event) for event in found):
        return found
    return await asyncio.to_thread(personal.reveal, ref, found)


async def _ask(question: Question) -> list[Document]:
    rows = mongo_async.events().find(question.where, sort=question.order, limit=question.limit)
    return await rows.max_time_ms(READ_TIMEOUT).to_list()

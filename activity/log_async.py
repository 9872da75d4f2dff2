"""The log read in an event loop: what activity.log does in threads, without one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from pymongo import ASCENDING
from pymongo.errors import ExecutionTimeout

from activity import mongo, mongo_async
from activity.log import READ_TIMEOUT, Document, Question, Walk, item
from activity.models import LogHead
from tenants.context import use_tenant
from tenants.db import aio
from tenants.refs import TenantRef


async def head_of(ref: TenantRef) -> int:
    """The number of a tenant's last event. All up to it are in the log."""
    with use_tenant(ref):
        return await aio.fetch_one(LogHead.objects.values_list("appended", flat=True)) or 0


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
    """Documents as the API shows them. Whatever a loop gives out passes here."""
    return [item(document) for document in documents]


async def _ask(question: Question) -> list[Document]:
    rows = mongo_async.events().find(question.where, sort=question.order, limit=question.limit)
    return await rows.max_time_ms(READ_TIMEOUT).to_list()

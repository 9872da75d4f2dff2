"""The async twin of activity.mongo, for `stream`: one client for an event loop, made when it is first asked for."""

from __future__ import annotations

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

from bson.codec_options import CodecOptions
from django.conf import settings
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.read_concern import ReadConcern

from activity.models import LoggedEvent
from activity.mongo import ALIAS, Document

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncMongoClient[Document]] = WeakKeyDictionary()


def events() -> AsyncCollection[Document]:
    """The log's collection, read as a majority of the servers has it. Makes no connection yet."""
    found = settings.DATABASES[ALIAS]
    collection: AsyncCollection[Document] = _client()[found["NAME"]].get_collection(
        LoggedEvent._meta.db_table,
        codec_options=CodecOptions(tz_aware=True),
        read_preference=ReadPreference.PRIMARY,
        read_concern=ReadConcern("majority"),
    )
    return collection


def _client() -> AsyncMongoClient[Document]:
    loop = asyncio.get_running_loop()
    client = _clients.get(loop)
    if client is None:
        found = settings.DATABASES[ALIAS]
        # The listeners are the other client's: they count its connections.
        options: dict[str, Any] = {key: it for key, it in found["OPTIONS"].items() if key != "event_listeners"}
        client = _clients[loop] = AsyncMongoClient(found["HOST"], **options)
    return client


async def close() -> None:
    """Close the running loop's client, at the end of the process."""
    client = _clients.pop(asyncio.get_running_loop(), None)
    if client is not None:
        await client.close()

"""The one connection to MongoDB: django-mongodb-backend's client, of which a process has one, and its threads share it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from bson.codec_options import CodecOptions
from django.db import connections
from django_mongodb_backend.base import DatabaseWrapper
from pymongo import ASCENDING, IndexModel, ReadPreference, WriteConcern
from pymongo.collection import Collection
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    ExecutionTimeout,
    NetworkTimeout,
    PyMongoError,
    WriteConcernError,
)

from activity.errors import LogUnavailable
from activity.models import LoggedEvent
from tenants import clients

ALIAS: Final = "mongo"
WRITE_TIMEOUT: Final = 5_000  # milliseconds for the majority to have a write in its journal

# The tenant comes first in each: a query that names no tenant finds no index, and none reads another's entries.
INDEXES: Final = [
    IndexModel([("tenant", ASCENDING), ("seq", ASCENDING)], name="tenant_seq", unique=True),
    IndexModel([("tenant", ASCENDING), ("terms", ASCENDING), ("seq", ASCENDING)], name="tenant_terms_seq"),
]

_AWAY = (AutoReconnect, ConnectionFailure, NetworkTimeout, ExecutionTimeout, WriteConcernError)

Document = dict[str, Any]


def events() -> Collection[Document]:
    """The log's collection. Writes return once a majority has them in its journal; reads see the primary. Makes no connection yet."""
    connection: Any = connections[ALIAS]
    connection.ensure_connection()
    database = connection.connection[connection.settings_dict["NAME"]]
    collection: Collection[Document] = database.get_collection(
        LoggedEvent._meta.db_table,
        codec_options=CodecOptions(tz_aware=True),
        read_preference=ReadPreference.PRIMARY,
        write_concern=WriteConcern(w="majority", j=True, wtimeout=WRITE_TIMEOUT),
    )
    return collection


@contextmanager
def reachable() -> Iterator[None]:
    """What MongoDB's absence raises within the block becomes LogUnavailable."""
    try:
        yield
    except _AWAY as error:
        raise LogUnavailable(type(error).__name__) from error


def ensure_indexes() -> None:
    """Make the indexes, once in a process. Raises LogUnavailable."""
    global _has_indexes
    if _has_indexes:
        return
    with _lock, reachable():
        if not _has_indexes:
            events().create_indexes(INDEXES)
            _has_indexes = True


def is_up() -> bool:
    """Whether MongoDB answers."""
    try:
        events().database.command("ping")
    except PyMongoError:
        return False
    return True


def close() -> None:
    """Close the process's client, if it has made one."""
    client: Any = DatabaseWrapper._connection_pools.pop(ALIAS, None)
    if client is not None:
        client.close()


_has_indexes = False
_lock = threading.Lock()
_inherited: list[object] = []


def _start_anew_after_fork() -> None:
    """A client's connections and threads are its process's own: a forked child neither uses nor closes those of its parent."""
    global _lock
    _lock = threading.Lock()
    _inherited.append(DatabaseWrapper._connection_pools.pop(ALIAS, None))


clients.at_end("mongo", close)
os.register_at_fork(after_in_child=_start_anew_after_fork)

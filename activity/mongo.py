"""The one connection to MongoDB: django-mongodb-backend's client, of which a process has one, and its threads share it.

Once MongoDB is known to be away nobody waits for it: whoever needs it gets LogUnavailable at once, and now and then one of them asks
with a ping whether it is back, at first after half a second and at last every five.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pymongo
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
    ServerSelectionTimeoutError,
    WriteConcernError,
)

from activity.errors import LogUnavailable
from activity.models import LoggedEvent
from tenants import clients
from tenants.db.breaker import Breaker

ALIAS: Final = "mongo"
WRITE_TIMEOUT: Final = 5_000  # milliseconds for the majority to have a write in its journal

# The tenant comes first in each: a query that names no tenant finds no index, and none reads another's entries.
INDEXES: Final = [
    IndexModel([("tenant", ASCENDING), ("seq", ASCENDING)], name="tenant_seq", unique=True),
    IndexModel([("tenant", ASCENDING), ("terms", ASCENDING), ("seq", ASCENDING)], name="tenant_terms_seq"),
]

PING_TIMEOUT: Final = 1.0  # seconds
BACK_OFF: Final = {"first": 0.5, "most": 5.0}  # seconds from one ping to the next while it is away

# It doesn't answer; it is there, and didn't do what it was asked in time.
_AWAY = (AutoReconnect, ConnectionFailure, NetworkTimeout)
_SLOW = (ExecutionTimeout, WriteConcernError)

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
    """What MongoDB's absence raises within the block becomes LogUnavailable, raised at once while it is known to be away."""
    check()
    try:
        yield
    except _AWAY as error:
        _failed(error)
        raise LogUnavailable(type(error).__name__) from error
    except _SLOW as error:
        raise LogUnavailable(type(error).__name__) from error
    _breaker.succeeded()


def check() -> None:
    """Raise LogUnavailable when MongoDB is known to be away. Costs nothing while it isn't."""
    if _breaker.is_open and not is_up():
        raise LogUnavailable("known to be away")


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
    """Whether MongoDB answers; while it is known to be away it is asked only now and then."""
    if not _breaker.may_try():
        return False
    try:
        with pymongo.timeout(PING_TIMEOUT):
            events().database.command("ping")
    except PyMongoError as error:
        _failed(error)
        return False
    _breaker.succeeded()
    return True


def _failed(error: PyMongoError) -> None:
    """One connection may break for many reasons; when no server is found at all, or one says nothing, that is known at once."""
    _breaker.failed(at_once=isinstance(error, (ServerSelectionTimeoutError, NetworkTimeout)))


def close() -> None:
    """Close the process's client, if it has made one."""
    client: Any = DatabaseWrapper._connection_pools.pop(ALIAS, None)
    if client is not None:
        client.close()


_breaker = Breaker(ALIAS, **BACK_OFF)
_has_indexes = False
_lock = threading.Lock()
_inherited: list[object] = []


def _start_anew_after_fork() -> None:
    """A client's connections and threads are its process's own: a forked child neither uses nor closes those of its parent."""
    global _breaker, _lock
    _breaker = Breaker(ALIAS, **BACK_OFF)
    _lock = threading.Lock()
    _inherited.append(DatabaseWrapper._connection_pools.pop(ALIAS, None))


clients.at_end("mongo", close)
os.register_at_fork(after_in_child=_start_anew_after_fork)

"""A forked child makes a MongoDB client of its own and leaves its parent's alone."""

from __future__ import annotations

import os

from django_mongodb_backend.base import DatabaseWrapper
from pytest_django import DjangoDbBlocker

from activity import mongo


def test_a_child_uses_no_connection_of_its_parent(django_db_blocker: DjangoDbBlocker) -> None:
    with django_db_blocker.unblock():
        assert mongo.is_up()
        parents = DatabaseWrapper._connection_pools[mongo.ALIAS]
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                anew = mongo.ALIAS not in DatabaseWrapper._connection_pools
                works = mongo.is_up() and DatabaseWrapper._connection_pools[mongo.ALIAS] is not parents
                os.write(writer, b"fine" if anew and works else b"shared")
            finally:
                os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        answer = os.read(reader, 10)
        os.close(reader)
        assert answer == b"fine"
        assert mongo.is_up()
        assert DatabaseWrapper._connection_pools[mongo.ALIAS] is parents

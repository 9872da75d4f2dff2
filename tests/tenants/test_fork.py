"""A forked child starts with empty pools and leaves its parent's connections alone."""

from __future__ import annotations

import os

from django.db import connection
from pytest_django import DjangoDbBlocker

from tenants import context
from tenants.db import pools
from tenants.refs import TenantRef


def backend_pid() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_three_children_use_no_backend_of_their_parent(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, committed_tenant: TenantRef
) -> None:
    with django_db_blocker.unblock(), context.use_tenant(committed_tenant):
        mine = backend_pid()
        theirs = []
        for _ in range(3):
            reader, writer = os.pipe()
            child = os.fork()
            if not child:
                try:
                    assert pools.all_pools() == []
                    os.write(writer, str(backend_pid()).encode())
                finally:
                    os._exit(0)
            os.close(writer)
            os.waitpid(child, 0)
            theirs.append(int(os.read(reader, 20)))
            os.close(reader)
        assert backend_pid() == mine  # still alive after the children's end
    assert len({mine, *theirs}) == 4

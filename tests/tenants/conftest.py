"""Routes to real databases, for tests of the pool that need no tenant."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tenants.db.books import PoolLimits
from tenants.db.connection import Connection
from tenants.db.pool import ServerPool


@dataclass(frozen=True)
class DatabaseRoute:
    """A route to one database; `application_name` tells this test's backends from others."""

    database: str
    application_name: str = "pool-test"
    url: str = ""

    @property
    def alias(self) -> str:
        return self.database

    @property
    def owner(self) -> str:
        return self.database

    def connect(self) -> Connection:
        return Connection.connect(
            self.url or primary_url(),
            dbname=self.database,
            application_name=self.application_name,
            autocommit=True,
            connect_timeout=3,
            prepare_threshold=None,  # as Django has it
        )


def primary_url() -> str:
    url: str = json.loads(os.environ["TENANT_SERVERS"])["local"]["primary"]
    return url


@pytest.fixture
def observer() -> Iterator[psycopg.Connection[Any]]:
    """An administrator's connection beside the pool."""
    with psycopg.connect(primary_url(), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def databases() -> Iterator[list[str]]:
    """60 empty databases."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    names = [f"pool_{worker}_{number}" for number in range(60)]
    with psycopg.connect(primary_url(), autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
            connection.execute(sql.SQL("CREATE DATABASE {} STRATEGY FILE_COPY").format(sql.Identifier(name)))
        yield names
        for name in names:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def make_pool() -> Iterator[Callable[..., ServerPool]]:
    """Make pools that are closed at the end of the test."""
    pools: list[ServerPool] = []

    def make(**limits: Any) -> ServerPool:
        pools.append(ServerPool("test", PoolLimits(**limits)))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close(1.0)

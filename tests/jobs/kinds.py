"""Kinds of job that a test makes up."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection

from activity.jobs import kinds as registry
from activity.jobs import runner
from activity.jobs.kinds import Kind, NoParams
from activity.jobs.run import Run

_numbers = itertools.count(1)


@dataclass
class Raise:
    """A run that ends by this error."""

    error: BaseException

    def __call__(self, run: Run, params: Any) -> None:
        raise self.error


@pytest.fixture
def losing_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control's connection, which holds the test's transaction, is left when the runner closes those that are lost."""

    def close() -> None:
        connection.close_if_unusable_or_obsolete()

    monkeypatch.setattr(runner, "close_old_connections", close)


def lose_the_database(*_: Any, **__: Any) -> None:
    """Have Postgres end the connection that this thread works on, as it does when it stops. Raises django.db.OperationalError."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


class Kinds:
    """`add(function)` registers a kind until the test ends, and returns its name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def add(self, run: Callable[[Run, Any], None], *, verb: str = "jobs.write", **options: Any) -> str:
        name = f"tests.kind{next(_numbers)}"
        self._monkeypatch.setitem(registry._kinds, name, Kind(name, "A test", verb, NoParams, run, **options))
        return name

    def remove(self, name: str) -> None:
        """As a release does that no longer has it."""
        self._monkeypatch.delitem(registry._kinds, name)


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> Kinds:
    return Kinds(monkeypatch)

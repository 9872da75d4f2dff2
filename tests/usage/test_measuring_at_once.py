"""Several workers that measure at the same time: real commits, in tenants of this file's own."""

from __future__ import annotations

import threading

import pytest

from activity.usage import measuring
from tenants.context import use_control
from tenants.models import UsageDay
from tests.activity.conftest import LastingTenant


@pytest.fixture
def fresh_limits() -> None:
    """Not needed here, and its tenants would be in a transaction."""


@pytest.fixture
def no_files_left() -> None:
    """Nor this."""


def visited_by(workers: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whom so many workers visit that begin at once, each claiming one tenant at a time."""
    visited: list[str] = []
    monkeypatch.setattr(measuring, "AT_ONCE", 1)
    monkeypatch.setattr(measuring, "_visit", lambda ref: visited.append(ref.id))
    gate = threading.Barrier(workers)

    def work() -> None:
        gate.wait(20)
        with use_control():
            measuring.measure_due(20.0)

    with use_control():
        UsageDay.objects.all().delete()
    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with use_control():
        UsageDay.objects.all().delete()
    return visited


def test_workers_share_the_tenants(lasting_tenant: LastingTenant, monkeypatch: pytest.MonkeyPatch) -> None:
    refs = [lasting_tenant() for _ in range(3)]
    for _ in range(5):
        visited = visited_by(4, monkeypatch)
        assert len(visited) == len(set(visited))
        assert {ref.id for ref in refs} <= set(visited)


def test_without_the_claim_each_of_them_visits_all(
    lasting_tenant: LastingTenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: whoever somebody else has visited already is due all the same."""
    ref = lasting_tenant()
    claim = measuring._CLAIM.replace("usage.visited_at < now() - %(every)s", "%(every)s IS NOT NULL")
    monkeypatch.setattr(measuring, "_CLAIM", claim)
    with use_control():
        visited = measuring._claim() + measuring._claim()
        UsageDay.objects.all().delete()
    assert visited.count(ref.id) == 2

"""Whoever wrote something sees it, however far the replicas are behind: by the browser's cookie, by X-Read-After, in a task (scenario 14).

Pairs of a write and a read of it, checked one by one. Forty of each carrier here, at no lag and at 3 s; `make scenarios` does 10,000 in
all, at 0, 3 and 40 s. Each run has its control: read without saying what was written, some of them are not there yet.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from celery import shared_task
from django.test import Client

from accounts.models import User
from accounts.services.tokens import token_create
from tenants import hints, reads
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tenants.task import TenantTask
from tests.failover.cluster import Cluster
from tests.notes.models import Note

pytestmark = pytest.mark.xdist_group("failover")

served: Counter[str] = Counter()  # reads by what served them


@shared_task(base=TenantTask, name="tests.failover.note_is_there")
def note_is_there(title: str) -> bool:
    """Whether there is a note of that title."""
    queryset = Note.objects.filter(title=title)
    served["replica" if "@" in queryset.db else "primary"] += 1
    return queryset.exists()


note_is_there.reads = "replica"


class Carrier:
    """A way by which the position of a write comes back with the read. `read` tells whether what was written is there."""

    def __init__(self, ref: TenantRef, secret: str) -> None:
        self.ref = ref
        self.client = Client(HTTP_HOST=f"{ref.slug}.localhost", headers={"Authorization": f"Bearer {secret}"})

    def write(self) -> str:
        email = f"{uuid4().hex}@people.example"
        answer = self.client.post("/api/v1/members", {"email": email}, content_type="application/json")
        assert answer.status_code == 201, answer.content
        self.token = answer.headers["X-Read-After"]
        return email

    def _sees(self, email: str, **headers: str) -> bool:
        answer = self.client.get("/api/v1/members", {"q": email}, headers=headers)
        assert answer.status_code == 200, answer.content
        return [item["email"] for item in answer.json()["items"]] == [email]

    def read(self, written: str) -> bool:
        raise NotImplementedError

    def read_without(self, written: str) -> bool:
        """The control: the reader doesn't say what it wrote."""
        self.client.cookies.pop("read_after", None)
        return self._sees(written)


class Browser(Carrier):
    def read(self, written: str) -> bool:
        return self._sees(written)


class ApiToken(Carrier):
    def read(self, written: str) -> bool:
        self.client.cookies.pop("read_after")
        return self._sees(written, **{"X-Read-After": self.token})


class Task(Carrier):
    def write(self) -> str:
        title = uuid4().hex
        with use_tenant(self.ref), reads.reads_from_primary():
            Note.objects.create(title=title)
            self.headers = hints.headers_of_caller()
        return title

    def read(self, written: str, **missing: None) -> bool:
        note_is_there.push_request(**{**self.headers, **missing})
        try:
            return bool(note_is_there(title=written))
        finally:
            note_is_there.pop_request()

    def read_without(self, written: str) -> bool:
        return self.read(written, read_after=None)


CARRIERS = (Browser, ApiToken, Task)


def lag_behind(cluster: Cluster, seconds: float) -> None:
    cluster.execute("replica", f"ALTER SYSTEM SET recovery_min_apply_delay = '{seconds}s'")
    cluster.execute("replica", "SELECT pg_reload_conf()")
    time.sleep(0.5)


def pairs(home: Any, lag: float, count: int) -> None:
    cluster, ref = home(replicas=1)
    with use_tenant(ref):
        user = User.objects.create(email="owner@people.example", role="owner")
        _, secret = token_create(user=user, name="pairs", scopes=["read", "write"])
        Note.objects.count()
    time.sleep(1)  # the replica has the tenant's tables and the token's user
    lag_behind(cluster, lag)
    served.clear()
    stale: list[str] = []
    unpinned: Counter[bool] = Counter()
    failed: list[BaseException] = []

    def run(kind: Callable[..., Carrier]) -> None:
        try:
            carrier = kind(ref, secret)
            for number in itertools.islice(itertools.count(), count):
                written = carrier.write()
                if number % 5 == 4:
                    unpinned[carrier.read_without(written)] += 1
                    continue
                if not carrier.read(written):
                    stale.append(f"{kind.__name__} {number}")
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=run, args=[kind]) for kind in CARRIERS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lag_behind(cluster, 0)
    print(
        f"lag {lag} s: {count * len(CARRIERS)} pairs, {len(stale)} stale; unpinned: {unpinned[False]} of {unpinned.total()} stale;"
        f" tasks' reads served by {dict(served)}"
    )
    assert failed == []
    assert stale == []
    if lag:
        assert unpinned[False] > 0, "the control saw everything: the replica wasn't behind, or wasn't read"


@pytest.mark.parametrize("lag", [0, 3])
def test_nobody_misses_an_own_write(home: Any, lag: float) -> None:
    pairs(home, lag, 40)


@pytest.mark.scenario
@pytest.mark.parametrize("lag", [0, 3, 40])
def test_scenario_14_ten_thousand_pairs(home: Any, lag: float) -> None:
    pairs(home, lag, 1_112)

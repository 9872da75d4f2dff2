"""A change of a tenant's route reaches other processes in two seconds at the latest: pushed, and pulled when Valkey is away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from django.db import connection

from tenants import directory, epochs
from tenants.context import use_control, use_tenant
from tenants.db import pools
from tenants.errors import TenantNotFound
from tenants.lifecycle.credentials import rotate_credentials
from tenants.lifecycle.offboard import delete_tenant, resume_tenant, suspend_tenant
from tenants.lifecycle.provision import provision_tenant
from tenants.models import Tenant
from tenants.refs import TenantRef
from tenants.valkey import redis_client
from tests.system import ROOT, wait_for
from tests.tenants.conftest import primary_url

BOUND = 2.0

# Another process of the system: it serves the tenant once, and then nothing; its connection stays idle in its pool.
PEER = """
import sys, time
from django.db import connection
from tenants import directory
from tenants.context import use_tenant
ref = directory.by_slug(SLUG)
with use_tenant(ref), connection.cursor() as cursor:
    cursor.execute("SELECT 1")
print("served", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def made(django_db_setup: None, django_db_blocker: Any) -> Iterator[Callable[..., TenantRef]]:
    """Make tenants that are removed at the end."""
    with django_db_blocker.unblock():

        def make(slug: str = "") -> TenantRef:
            return provision_tenant(slug=slug or f"epoch-{uuid4().hex[:8]}", name="Epoch")[0]

        yield make
        with use_control():
            for tenant in Tenant.objects.filter(slug__startswith="epoch-"):
                delete_tenant(tenant.ref())


class Peer:
    """Another process with an idle connection to the tenant's database."""

    def __init__(self, slug: str, **variables: str) -> None:
        environment = {**os.environ, "TENANTRY_PROCESS": "worker", **variables}
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "shell", "--no-imports", "-c", f"SLUG = {slug!r}\n{PEER}"],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "served\n"

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def backends() -> Iterator[Callable[[TenantRef], int]]:
    """How many backends of `worker` processes a tenant's database has."""
    with psycopg.connect(primary_url(), autocommit=True) as observer:

        def count(ref: TenantRef) -> int:
            row = observer.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'tenantry-worker%%'",
                [ref.database],
            ).fetchone()
            assert row is not None
            return int(row[0])

        yield count


CHANGES: dict[str, Callable[[TenantRef], Any]] = {
    "suspended": suspend_tenant,
    "rotated": rotate_credentials,
    "moved": lambda ref: raise_epoch(ref, publish=True),
}


def raise_epoch(ref: TenantRef, *, publish: bool) -> None:
    with use_control():
        Tenant.objects.filter(pk=ref.id).update(epoch=ref.epoch + 1)
    if publish:
        epochs.publish(ref.id, ref.epoch + 1)


@pytest.mark.parametrize("change", CHANGES)
def test_idle_connections_of_another_process_are_closed(made: Any, backends: Any, change: str) -> None:
    ref = made()
    with Peer(ref.slug):
        assert backends(ref) == 1
        CHANGES[change](ref)
        began = time.monotonic()
        wait_for(lambda: backends(ref) == 0, timeout=BOUND + 1, interval=0.01, what="the end of the backend")
        print(f"{change}: {time.monotonic() - began:.2f} s")


def test_with_valkey_away_the_pull_holds_the_bound(made: Any, backends: Any) -> None:
    ref = made()
    with Peer(ref.slug, REDIS_URL="redis://127.0.0.1:1/0"):
        assert backends(ref) == 1
        suspend_tenant(ref)
        began = time.monotonic()
        wait_for(lambda: backends(ref) == 0, timeout=BOUND + 1, interval=0.01, what="the end of the backend")
        print(f"pulled: {time.monotonic() - began:.2f} s")


def test_a_change_that_nobody_published_is_pulled(made: Any, backends: Any) -> None:
    """As when the publisher is killed between its commit and its message."""
    ref = made()
    with Peer(ref.slug):
        raise_epoch(ref, publish=False)
        wait_for(lambda: backends(ref) == 0, timeout=BOUND + 1, interval=0.01, what="the end of the backend")


def test_without_push_and_pull_the_connection_stays(made: Any, backends: Any) -> None:
    """The control of the tests above."""
    ref = made()
    with Peer(ref.slug, DJANGO_SETTINGS_MODULE="tests.tenants.settings_no_epochs"):
        raise_epoch(ref, publish=True)
        time.sleep(BOUND + 1)
        assert backends(ref) == 1


def test_a_push_is_heard_at_once(made: Any) -> None:
    """Long before what the directory remembers expires."""
    ref = made()
    directory.by_slug(ref.slug)
    epochs.listen()
    time.sleep(0.6)
    message = f"{ref.id}:{ref.epoch + 1}"
    key = ("slug", ref.slug)
    assert key in directory._entries
    redis_client().publish(epochs.CHANNEL, message)
    wait_for(lambda: key not in directory._entries, timeout=0.9, interval=0.005, what="the push")
    assert pools.is_former(ref.alias)


@pytest.mark.parametrize("nonsense", ["", "x", "a:b", "::", b"\xff\xfe", "1:2:3", json.dumps({})])
def test_nonsense_does_not_end_the_listener(made: Any, nonsense: Any) -> None:
    ref = made()
    directory.by_slug(ref.slug)
    wait_for(lambda: epochs._thread is not None and epochs._thread.is_alive(), what="the listener")
    client = redis_client()
    wait_for(lambda: client.publish(epochs.CHANNEL, nonsense) >= 1, what="a subscriber")
    client.publish(epochs.CHANNEL, f"{ref.id}:{ref.epoch + 1}")
    wait_for(lambda: pools.is_former(ref.alias), timeout=3, what="the push after it")


def test_a_lent_connection_is_closed_when_it_comes_back(made: Any, observer: Any) -> None:
    ref = made()
    with use_tenant(ref), connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
        suspend_tenant_of_another_thread(ref)
        cursor.execute("SELECT 1")  # it works on until then
        alive = observer.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
        assert alive is not None
    wait_for(
        lambda: observer.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone() is None,
        timeout=2,
        what="its end",
    )
    # And one that is opened late, by whoever still holds the former route, isn't kept either.
    with use_tenant(ref), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert ref.alias not in pools.owners()


def suspend_tenant_of_another_thread(ref: TenantRef) -> None:
    thread = threading.Thread(target=suspend_tenant, args=[ref])
    thread.start()
    thread.join()


def test_credentials_are_rotated_under_load_with_no_error(made: Any) -> None:
    ref = made()
    errors: list[str] = []
    done = [0]
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            try:
                with use_tenant(directory.by_slug(ref.slug)), connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
                    if done[0] % 3 == 0:
                        connection.connection.close()  # so that the next one has to open a connection
                done[0] += 1
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    passwords = {ref.password}
    for _ in range(5):
        time.sleep(0.3)
        ref = rotate_credentials(ref)
        passwords.add(ref.password)
    time.sleep(0.3)
    ended.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert done[0] > 100
    assert len(passwords) == 6
    assert ref.epoch == 6
    for password in sorted(passwords - {ref.password}):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(primary_url(), dbname=ref.database, user=ref.role, password=password)


def test_without_asking_the_registry_again_a_rotation_fails_someone(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control of the test above: whoever comes with the old password is refused."""
    from django.db import OperationalError

    from tenants.db import tenant

    monkeypatch.setattr(tenant, "password_renewal", lambda ref: lambda: None)
    ref = made()
    rotate_credentials(ref)
    with use_tenant(ref), pytest.raises(OperationalError, match="password"):
        connection.ensure_connection()


def recreate_under_load(make: Callable[[str], TenantRef], slug: str, times: int) -> None:
    """Drop and make the tenant of a slug again and again while readers ask for it: what is read is always of a life that isn't over."""
    born = [0]  # the number of the life that has begun last
    gone = [-1]  # of the one that has ended last
    wrong: list[str] = []
    reads = [0]
    ended = threading.Event()

    def mark(number: int) -> TenantRef:
        ref = make(slug)
        with use_tenant(ref), connection.cursor() as cursor:
            cursor.execute("CREATE TABLE sentinel AS SELECT %s AS life", [number])
        born[0] = number
        return ref

    def read() -> None:
        while not ended.is_set():
            over = gone[0]
            begun = time.monotonic()
            try:
                with use_tenant(directory.by_slug(slug)), connection.cursor() as cursor:
                    cursor.execute("SELECT life FROM sentinel")
                    (life,) = cursor.fetchone()
            except (TenantNotFound, TypeError):
                time.sleep(0.01)
                continue
            except Exception as error:
                # Dropped under the reader's hands: refused, never answered.
                if "sentinel" not in str(error) and time.monotonic() - begun > 5:
                    wrong.append(f"hung: {error}")
                continue
            reads[0] += 1
            if life <= over:
                wrong.append(f"read life {life} after its end ({over})")

    ref = mark(0)
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    with psycopg.connect(primary_url(), autocommit=True) as observer:
        for number in range(1, times + 1):
            wait_for(lambda before=reads[0]: reads[0] > before + 10, timeout=20, what="reads")
            former = ref
            delete_tenant(ref)
            gone[0] = number - 1
            ref = mark(number)
            wait_for(
                lambda former=former: (
                    observer.execute("SELECT 1 FROM pg_stat_activity WHERE datname = %s", [former.database]).fetchone()
                    is None
                ),
                timeout=5,
                what="the end of the old connections",
            )
            assert former.alias not in pools.owners()
    wait_for(lambda before=reads[0]: reads[0] > before + 10, timeout=20, what="reads")
    ended.set()
    for thread in threads:
        thread.join()
    print(f"{reads[0]} reads over {times + 1} lives")
    assert wrong == []


def test_a_slug_used_again_reaches_nothing_old(made: Any) -> None:
    """Scenario 2, three lives of it; `make scenarios` lives thirty."""
    recreate_under_load(made, f"epoch-{uuid4().hex[:8]}", 3)


@pytest.mark.scenario
def test_thirty_lives_of_a_slug(made: Any) -> None:
    recreate_under_load(made, f"epoch-{uuid4().hex[:8]}", 30)


def test_an_alias_that_is_pointed_elsewhere_serves_no_old_row(made: Any) -> None:
    """Scenario 2: the route is changed to another database. The control: the former route's alias reads the old row."""
    old, new = made(), made()
    for ref, text in ((old, "old"), (new, "new")):
        with use_tenant(ref), connection.cursor() as cursor:
            cursor.execute("CREATE TABLE sentinel AS SELECT %s AS text", [text])
    former = directory.by_slug(old.slug)
    with use_control():
        # As a move does it: another database, another epoch.
        Tenant.objects.filter(pk=new.id).update(database=f"{new.database}x", role=f"{new.role}x")
        tenant = Tenant.objects.get(pk=old.id)
        tenant.database, tenant.role, tenant.epoch = new.database, new.role, tenant.epoch + 1
        tenant.set_password(new.password)
        tenant.save()
    epochs.publish(old.id, tenant.epoch)
    moved = directory.by_slug(old.slug)
    assert moved.alias != former.alias
    for ref, text in ((moved, "new"), (former, "old")):
        with use_tenant(ref), connection.cursor() as cursor:
            cursor.execute("SELECT text FROM sentinel")
            assert cursor.fetchone() == (text,)
    assert former.alias not in pools.owners()
    with use_control():
        tenant.database, tenant.role = old.database, old.role
        tenant.set_password(old.password)
        tenant.save()
        Tenant.objects.filter(pk=new.id).update(database=new.database, role=new.role)


def test_a_suspended_tenant_comes_back_under_another_epoch(made: Any) -> None:
    ref = made()
    assert resume_tenant(suspend_tenant(ref)).epoch == ref.epoch + 2
    assert directory.by_slug(ref.slug).epoch == ref.epoch + 2

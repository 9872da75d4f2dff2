"""A tenant in which commits are commits, events that tell of somebody by a word that is nowhere else, and a look for it everywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bson
import psycopg
import pytest
from django.conf import settings
from psycopg import sql
from pytest_django import DjangoDbBlocker

from accounts.models import User
from accounts.recording import recording_as
from activity import mongo, selectors, services
from activity.jobs.models import Job
from activity.jobs.runner import run_job
from activity.relay import relay
from activity.search import Query
from tenants import context, subject_keys
from tenants.refs import TenantRef
from tenants.valkey import redis_client
from tests.accounts.conftest import (  # noqa: F401  fixtures
    Api,
    ApiOf,
    admin,
    api,
    control_api,
    fresh_limits,
    member,
    operator,
    owner,
    quick_passwords,
)
from tests.accounts.pages.conftest import SignedIn, anonymous, signed_in  # noqa: F401  fixtures
from tests.activity.conftest import LastingTenant, empty_where_there_is_a_cast, lasting_tenant, primary_url  # noqa: F401  fixtures

MARKER = "zyxomarker"
ADA = f"user:{MARKER}-7@example.com"  # an id that is an address


def sent(**changes: Any) -> dict[str, Any]:
    """An event of a product that tells of MARKER in every way that there is."""
    event: dict[str, Any] = {
        "action": "order.placed",
        "actor": {"type": "user", "id": ADA.partition(":")[2], "name": f"Ada {MARKER.title()}"},
        "data": {"order": 12, "contact": {"email": f"{MARKER}@example.com", "lines": [MARKER, "Baker Street"]}},
        "personal": ["actor.id", "actor.name", "data.contact"],
    }
    return event | changes


def bystander(**changes: Any) -> dict[str, Any]:
    """An event about somebody else."""
    someone = {"type": "user", "id": "8", "name": "Grace Hopper"}
    return sent(actor=someone, data={"email": "grace@example.com"}, personal=["actor.name", "data.email"], **changes)


@dataclass
class Erasing:
    """A lasting tenant, its owner, and where to look."""

    ref: TenantRef
    owner: User
    primary_url: str
    jobs: list[Job] = field(default_factory=list)

    def send(self, *events: dict[str, Any]) -> None:
        services.events_ingest(events)

    def relay(self) -> None:
        relay(self.ref)

    def run(self, job: Job) -> Job:
        """What a worker does."""
        run_job(job.pk)
        return Job.objects.get(pk=job.pk)

    def words(self, q: str) -> list[dict[str, Any]]:
        """What a search for words finds."""
        return selectors.event_page(self.ref, Query(q=q)).items

    def documents(self) -> list[dict[str, Any]]:
        return sorted(mongo.events().find({"tenant": self.ref.id}), key=lambda document: document["seq"])

    def places(self, word: str = MARKER) -> list[str]:
        """Where the bytes of a word are, in either case, of all that is kept."""
        found = []
        for document in self.documents():
            for name, value in document.items():
                if word.encode() in bson.encode({name: value}).lower():
                    found.append(f"mongo {name}")
        with psycopg.connect(self.primary_url, dbname=self.ref.database) as connection:
            found += [f"tenant {table}" for table in tables_with(connection, word)]
        with psycopg.connect(self.primary_url, dbname=control_database()) as connection:
            found += [f"control {table}" for table in tables_with(connection, word)]
        found += [f"valkey {key!r}" for key, value in valkey_dump() if word.encode() in (key + value).lower()]
        folder = Path(settings.MEDIA_ROOT) / self.ref.id
        for path in folder.rglob("*"):
            if path.is_file() and word.encode() in path.read_bytes().lower():
                found.append("file")
        return sorted(set(found))


def control_database() -> str:
    name: str = settings.CONTROL_DATABASE["NAME"]
    return name


def tables_with(connection: psycopg.Connection[Any], word: str) -> list[str]:
    """The tables of a database that have a word in any column of any row; bytes are looked at as such, too."""
    tables = connection.execute("SELECT relname FROM pg_stat_user_tables WHERE schemaname = 'public'").fetchall()
    hexed = word.encode().hex()
    statement = sql.SQL(
        "SELECT 1 FROM {table} AS t WHERE strpos(lower(t::text), {word}) > 0 OR strpos(t::text, {hexed}) > 0 LIMIT 1"
    )
    return [
        name
        for (name,) in tables
        if connection.execute(statement.format(table=sql.Identifier(name), word=word, hexed=hexed)).fetchone()
    ]


def valkey_dump() -> Iterator[tuple[bytes, bytes]]:
    """Every key with all that is in it."""
    client: Any = redis_client()
    readers = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"set": client.smembers,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"stream": client.xrange,
    }
    for key in client.scan_iter(count=1000):
        yield key, repr(readers[client.type(key)](key)).encode()


@pytest.fixture
def erasing(
    lasting_tenant: LastingTenant,  # noqa: F811
    tenants: dict[str, TenantRef],
    primary_url: str,  # noqa: F811
    quick_passwords: None,  # noqa: F811
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Erasing]:
    """A tenant, entered, with its owner acting."""
    ref = lasting_tenant()
    with django_db_blocker.unblock(), context.use_tenant(ref):
        person = User.objects.create_user(f"olga@{ref.slug}.example", None, name="Olga", role="owner")
        with recording_as(person, source="ui"):
            yield Erasing(ref, person, primary_url)


@pytest.fixture(autouse=True)
def keys_asked_for_anew() -> Iterator[None]:
    """What a test did to control's rows by hand is seen by the next one."""
    yield
    subject_keys.forget_all()

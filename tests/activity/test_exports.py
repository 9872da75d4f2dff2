"""The log as a file: all of it, or what a filter leaves, as CSV that no spreadsheet runs, or as the API's own JSON; at constant memory."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psutil
import pytest
from django.db import transaction

from accounts.models import User
from accounts.services.tokens import token_create
from activity import exports, mongo
from activity.log import Walk, take
from activity.models import LogHead
from activity.search import Query
from tenants import context
from tenants.context import use_tenant
from tenants.lifecycle.offboard import delete_tenant
from tenants.lifecycle.provision import provision_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import Api, ApiOf, api, fresh_limits, owner, quick_passwords  # noqa: F401  fixtures
from tests.activity.long_log import append_patiently
from tests.jobs.conftest import body_of, table
from tests.operations.conftest import Start, collected_static, start  # noqa: F401  fixtures

NAMES = ["Plain", "=1+1", "'=1+1", "-x", "@x", "\tx", 'a "b", c', "two\nlines", "Grüße 😀", "", "'tis"]
MANY = int(os.environ.get("BENCH_DEPTH", "1000000"))  # of the scenario
COUNT = 1_300
BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def document(number: int) -> dict[str, Any]:
    """An event in its normal form."""
    name = NAMES[number % len(NAMES)]
    return {
        "id": str(UUID(int=0x01900000000070008000000000000000 + number)),
        "seq": number,
        "at": (BEGAN + timedelta(minutes=number)).isoformat(),
        "action": "report.published" if number % 3 else "invoice.paid",
        "actor": {"type": "member", "id": f"m{number % 7}", "name": name},
        "target": None if number % 5 == 0 else {"type": "report", "id": str(number), "name": name},
        "source": "api",
        "request_id": None,
        "ip": None,
        "data": {"pages": number, "note": name} if number % 2 else {},
    }


def fill(ref: TenantRef, count: int, *, size: int = 1_000) -> None:
    """A log of so many events, which is what a relay leaves of them."""
    for first in range(1, count + 1, size):
        append_patiently(ref, [document(number) for number in range(first, min(first + size, count + 1))])
    with use_tenant(ref), transaction.atomic():
        LogHead.objects.update_or_create(id=LogHead.ID, defaults={"seq": count, "appended": count})


@pytest.fixture(scope="module")
def filled(django_db_setup: None, django_db_blocker: Any) -> Iterator[TenantRef]:
    with django_db_blocker.unblock():
        ref, _ = provision_tenant(slug="exported", name="Exported")
        try:
            fill(ref, COUNT)
            yield ref
        finally:
            with context.use_control():
                delete_tenant(ref)


@pytest.fixture
def person(filled: TenantRef, django_db_blocker: Any) -> Iterator[str]:
    """A token that may read."""
    with django_db_blocker.unblock():
        with use_tenant(filled):
            user, _ = User.objects.get_or_create(email="reader@exported.example", defaults={"role": "owner"})
            secret = token_create(user=user, name="exports", scopes=["read"])[1]
        yield secret


@pytest.fixture
def asking(filled: TenantRef, person: str) -> Api:
    return Api(f"{filled.slug}.localhost", person)


def parsed(line: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line)
    return found


def listed(asking: Api, query: str = "") -> list[dict[str, Any]]:
    """All that the list shows, page by page."""
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = asking.get(f"/activity?limit=500{query}{cursor}").json()  # type: ignore[attr-defined]
        items += page["items"]
        if page["next"] is None:
            return items
        cursor = f"&cursor={page['next']}"


QUERIES = [
    "",
    "&order=oldest",
    "&action=invoice.",
    "&actor=member:m3&order=oldest",
    "&target=report:17",
    "&source=ui",
    "&q=Gr%C3%BC%C3%9Fe",
    "&from=2026-03-01T14:00:00Z&to=2026-03-01T15:00:00Z",
    "&from=2026-03-02&to=2026-03-02&action=report.published",
]


@pytest.mark.parametrize("query", QUERIES)
def test_a_file_holds_what_the_list_shows(asking: Api, query: str) -> None:
    answer = asking.get(f"/activity.ndjson?{query[1:]}")
    assert answer["Content-Type"] == "application/x-ndjson"
    assert answer["Content-Disposition"] == 'attachment; filename="activity.ndjson"'
    assert answer["Cache-Control"] == "no-store"
    found = [parsed(line) for line in body_of(answer).decode().splitlines()]
    assert found == listed(asking, query)


def test_csv_has_a_line_for_each_event_and_none_that_a_spreadsheet_runs(asking: Api) -> None:
    answer = asking.get("/activity.csv?order=oldest")
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    header, *rows = table(body_of(answer))
    assert header == list(exports.COLUMNS)
    assert [row[1] for row in rows] == [str(number) for number in range(1, COUNT + 1)]
    for row, event in zip(rows, listed(asking, "&order=oldest"), strict=True):
        cells = dict(zip(header, row, strict=True))
        assert (cells["id"], cells["at"], cells["action"]) == (event["id"], event["at"], event["action"])
        name = event["actor"]["name"]
        assert cells["actor_name"] == (f"'{name}" if name.lstrip("'")[:1] in {"=", "-", "@", "\t"} and name else name)
        assert json.loads(cells["data"] or "{}") == event["data"]
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


def test_what_can_not_be_asked_is_422(asking: Api) -> None:
    for query in ("?actor=nobody", "?source=x", "?from=yesterday", "?order=random"):
        assert asking.get(f"/activity.csv{query}").status_code == 422


def test_a_token_needs_the_right(filled: TenantRef, person: str) -> None:
    with use_tenant(filled):
        user = User.objects.get(email="reader@exported.example")
        narrow = token_create(user=user, name="narrow", scopes=["members.read"])[1]
    for path in ("/activity.csv", "/activity.ndjson"):
        assert Api(f"{filled.slug}.localhost", narrow).get(path).status_code == 403


def test_stream_gives_the_same_files(start: Start, filled: TenantRef, person: str, asking: Api) -> None:  # noqa: F811
    stream = start("stream")
    host = f"{filled.slug}.localhost"
    for path in ("/activity.csv", "/activity.ndjson?action=invoice.paid", "/activity.csv?target=report:none"):
        answer = stream.get(f"/api/v1{path}", host=host, Authorization=f"Bearer {person}")
        assert answer.status_code == 200
        assert answer.content == body_of(asking.get(path))
        assert answer.headers["Content-Disposition"] == asking.get(path)["Content-Disposition"]
    refused = stream.get("/api/v1/activity.csv?order=random", host=host, Authorization=f"Bearer {person}")
    assert (refused.status_code, list(refused.json()["errors"])) == (422, ["order"])


def test_a_walk_that_was_cut_off_goes_on_where_it_was(filled: TenantRef, person: str) -> None:
    """The second question of a portion fails: what the first one found comes with the next try, and once."""
    walk = Walk(filled, head=COUNT, query=Query(action="report.", order="oldest"), cursor=None)
    steps = walk.steps(900)
    question = next(steps)
    steps.send(list(mongo.events().find(question.where, sort=question.order, limit=question.limit)))
    assert walk.position > 1
    steps.close()
    assert walk.position == 1
    found = [row["seq"] for row in take(walk, 2_000)]
    while not walk.at_end:
        found += [row["seq"] for row in take(walk, 2_000)]
    assert found == [number for number in range(1, COUNT + 1) if number % 3]


def memory_of_export(ref: TenantRef, form: exports.Format, count: int) -> int:
    """How much an export grows this process at most, in bytes, once a small one has loaded all that it needs."""

    def read(query: Query) -> Iterator[bytes]:
        return exports._blocks(form, Walk(ref, head=count, query=query, cursor=None))

    for _ in read(Query(target="report:1")):
        pass
    process = psutil.Process(os.getpid())
    before = highest = process.memory_info().rss
    lines, started = 0, time.monotonic()
    for block in read(Query()):
        lines += block.count(b'"seq":') if form == "ndjson" else 0
        highest = max(highest, process.memory_info().rss)
    print(
        f"\n{form}: {lines or count} events in {time.monotonic() - started:.1f} s, {(highest - before) / 2**20:.1f} MiB"
    )
    assert form == "csv" or lines == count
    return highest - before


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_an_export_takes_the_memory_of_a_portion(filled: TenantRef, person: str, form: Any) -> None:
    """At full size: test_an_export_of_a_million_events_grows_by_32_mib_at_most."""
    assert memory_of_export(filled, form, COUNT) < 16 << 20


@pytest.mark.scenario
def test_an_export_of_a_million_events_grows_by_32_mib_at_most(django_db_setup: None, django_db_blocker: Any) -> None:
    with django_db_blocker.unblock():
        ref, _ = provision_tenant(slug="million", name="Million")
        try:
            started = time.monotonic()
            fill(ref, MANY)
            print(f"\nfilled in {time.monotonic() - started:.0f} s", end="")
            for form in ("csv", "ndjson"):
                assert memory_of_export(ref, form, MANY) <= 32 << 20  # type: ignore[arg-type]
        finally:
            with context.use_control():
                delete_tenant(ref)

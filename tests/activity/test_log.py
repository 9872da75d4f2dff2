"""Pages of the log: every event once, in either order, whatever is asked for, with a bounded amount of work."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pytest_django import DjangoDbBlocker

from activity import log
from activity.canonical import moment_text
from activity.errors import SequenceConflict
from activity.models import LoggedEvent
from activity.search import Query, words_of
from tenants.errors import NoTenant
from tenants.ids import new_id
from tenants.pages import BadCursor, encode_cursor
from tenants.refs import TenantRef

COUNT = 400
FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)


def event(seq: int, chance: random.Random) -> dict[str, Any]:
    actor = chance.choice(["ada", "grace", "linus"]) if seq % 97 else "rare"
    return {
        "id": str(UUID(int=seq)),
        "seq": seq,
        "at": moment_text(FIRST_DAY + timedelta(hours=chance.randrange(24 * 700))),  # out of order, as imports are
        "action": chance.choice(["commit.pushed", "commit.reverted", "release.made"]),
        "actor": {"type": "user", "id": actor, "name": f"{actor.title()} Müller"},
        "target": {"type": "repository", "id": str(seq % 5), "name": "Core"} if seq % 3 else None,
        "source": chance.choice(["api", "ui"]),
        "request_id": None,
        "ip": None,
        "data": {
            "subject": f"Fix the {chance.choice(['parser', 'lexer', 'engine'])}",
            "files": [{"name": f"f{seq % 50}.py"}],
        },
    }


def of_nobody(slug: str) -> TenantRef:
    """The log knows tenants by their id; one that is nowhere else will do."""
    return TenantRef(
        id=str(new_id()),
        slug=slug,
        name="",
        plan="",
        state="active",
        epoch=1,
        server="",
        database="",
        role="",
        password="",
    )


@pytest.fixture(scope="module", autouse=True)
def mongo_alone(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """These tests write to MongoDB and to no other database."""
    with django_db_blocker.unblock():
        yield


@pytest.fixture(scope="module")
def acme(mongo_alone: None) -> Iterator[TenantRef]:
    ref = of_nobody("acme")
    yield ref
    log.purge(ref)


@pytest.fixture(scope="module")
def events(acme: TenantRef) -> Iterator[list[dict[str, Any]]]:
    """What acme's log has. Another tenant's has others with the same ids and numbers."""
    chance = random.Random(7)
    documents = [event(seq, chance) for seq in range(1, COUNT + 1)]
    log.append(acme, documents)
    globex = of_nobody("globex")
    log.append(globex, [event(seq, chance) for seq in range(1, COUNT + 1)])
    yield documents
    log.purge(globex)


@pytest.fixture
def empty() -> Iterator[TenantRef]:
    """A tenant without events."""
    ref = of_nobody("empty")
    yield ref
    log.purge(ref)


def walk(ref: TenantRef, query: Query, limit: int = 50) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = log.page(ref, head=COUNT, query=query, cursor=cursor, limit=limit)
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next
        if cursor is None:
            return found


def expected(documents: list[dict[str, Any]], query: Query) -> list[int]:
    """The same by hand."""
    asked = set(words_of(query.q or ""))

    def fits(event: dict[str, Any]) -> bool:
        at, target = datetime.fromisoformat(event["at"]), event["target"]
        texts = (event["actor"]["name"], event["action"], event["data"]["subject"], event["data"]["files"][0]["name"])
        words = {word for text in texts for word in words_of(text)} | {event["actor"]["id"], "core" if target else ""}
        return (
            (query.action is None or event["action"] == query.action or bool(
                query.action.endswith(".") and event["action"].startswith(query.action)))
            and query.actor in (None, f"user:{event['actor']['id']}")
            and query.target in (None, target and f"repository:{target['id']}")
            and query.source in (None, event["source"])
            and (query.q is None or (bool(asked) and asked <= words))
            and (query.start is None or at >= query.start)
            and (query.end is None or at <= query.end)
        )  # fmt: skip

    found = [event["seq"] for event in documents if fits(event)]
    return found if query.order == "oldest" else found[::-1]


QUERIES = [
    {},
    {"action": "commit.pushed"},
    {"action": "commit."},
    {"action": "commit.push"},
    {"actor": "user:rare"},
    {"actor": "user:nobody"},
    {"target": "repository:3"},
    {"source": "ui"},
    {"q": "PARSER müller"},
    {"q": "f7.py"},
    {"q": "pars"},
    {"q": "?!"},
    {"action": "release.", "actor": "user:ada", "q": "engine", "source": "api"},
    {"source": "api", "q": "the", "actor": "user:rare"},
    {"start": FIRST_DAY + timedelta(days=30), "end": FIRST_DAY + timedelta(days=35)},
    {"start": FIRST_DAY + timedelta(days=30), "end": FIRST_DAY + timedelta(days=200), "action": "commit."},
    {"start": FIRST_DAY + timedelta(days=30), "end": FIRST_DAY + timedelta(days=600)},
    {"start": FIRST_DAY + timedelta(days=690)},
    {"end": FIRST_DAY + timedelta(days=3)},
    {"start": FIRST_DAY + timedelta(days=3), "end": FIRST_DAY},
]


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("filters", QUERIES, ids=str)
def test_a_walk_finds_every_event_that_was_asked_for_once(
    acme: TenantRef, events: list[dict[str, Any]], filters: dict[str, Any], order: Any
) -> None:
    query = Query(**filters, order=order)
    assert [found["seq"] for found in walk(acme, query)] == expected(events, query)


@pytest.mark.parametrize("limit", [1, 7, 500])
def test_pages_of_any_size_make_the_same_walk(acme: TenantRef, events: list[dict[str, Any]], limit: int) -> None:
    query = Query(actor="user:ada", action="commit.")
    assert [found["seq"] for found in walk(acme, query, limit)] == expected(events, query)


def test_an_event_comes_back_as_it_was(acme: TenantRef, events: list[dict[str, Any]]) -> None:
    (newest,) = log.page(acme, head=COUNT, query=Query(), cursor=None, limit=1).items
    assert newest == events[-1] | {"at": datetime.fromisoformat(events[-1]["at"])}
    assert log.get(acme, UUID(int=COUNT)) == newest
    assert log.get(acme, UUID(int=COUNT + 1)) is None


def test_nothing_beyond_the_head_is_shown(acme: TenantRef, events: list[dict[str, Any]]) -> None:
    page = log.page(acme, head=10, query=Query(), cursor=None, limit=50)
    assert ([found["seq"] for found in page.items], page.next) == (list(range(10, 0, -1)), None)
    page = log.page(acme, head=10, query=Query(order="oldest"), cursor=None, limit=50)
    assert ([found["seq"] for found in page.items], page.next) == (list(range(1, 11)), None)


def test_an_empty_log_has_one_empty_page(empty: TenantRef) -> None:
    page = log.page(empty, head=0, query=Query(), cursor=None, limit=50)
    assert (page.items, page.next) == ([], None)


@pytest.mark.parametrize("cursor", ["x", "W10", encode_cursor("a"), encode_cursor(1, 2)])
def test_a_cursor_of_another_make_is_refused(acme: TenantRef, cursor: str) -> None:
    with pytest.raises(BadCursor):
        log.page(acme, head=5, query=Query(), cursor=cursor, limit=50)


@pytest.mark.parametrize("position", [-(2**62), -1, 0, 2**62])
def test_a_cursor_far_outside_finds_an_end(acme: TenantRef, events: list[dict[str, Any]], position: int) -> None:
    for order in ("newest", "oldest"):
        page = log.page(acme, head=COUNT, query=Query(order=order), cursor=encode_cursor(position), limit=500)  # type: ignore[arg-type]
        assert page.next is None or page.items


def test_to_append_again_changes_nothing(empty: TenantRef) -> None:
    documents = [event(seq, random.Random(seq)) for seq in range(1, 21)]
    log.append(empty, documents[:5])
    log.append(empty, documents[3:12])
    log.append(empty, documents)
    page = log.page(empty, head=20, query=Query(order="oldest"), cursor=None, limit=50)
    assert [found["id"] for found in page.items] == [document["id"] for document in documents]


@pytest.mark.parametrize(
    ("event_id", "seq", "found"), [(99, 3, None), (3, 99, 3)], ids=["number taken", "other number"]
)
def test_a_contradiction_is_refused(empty: TenantRef, event_id: int, seq: int, found: int | None) -> None:
    documents = [event(seq, random.Random(seq)) for seq in range(1, 6)]
    log.append(empty, documents)
    with pytest.raises(SequenceConflict) as caught:
        log.append(empty, [documents[4], documents[0] | {"id": str(UUID(int=event_id)), "seq": seq}])
    assert caught.value.found == found


def test_a_purge_takes_all_of_one_tenant_and_nothing_else(
    acme: TenantRef, events: list[dict[str, Any]], empty: TenantRef
) -> None:
    chance = random.Random(3)
    log.append(empty, [event(seq, chance) for seq in (*range(1, 601), 5000, 9000)])
    assert log.purge(empty) == 602
    assert log.purge(empty) == 0
    assert log.existing_ids(empty, [UUID(int=1), UUID(int=9000)]) == set()
    assert len(walk(acme, Query())) == COUNT


def test_one_page_is_a_bounded_amount_of_work(empty: TenantRef) -> None:
    chance = random.Random(1)
    count = log.MAX_DOCUMENTS + 300
    log.append(empty, [event(seq, chance) for seq in range(1, count + 1)])
    query = Query(start=datetime(2099, 1, 1, tzinfo=UTC))  # no token says so, and no event is so late
    page = log.page(empty, head=count, query=query, cursor=None, limit=50)
    assert page.items == []
    assert page.next is not None
    page = log.page(empty, head=count, query=query, cursor=page.next, limit=50)
    assert (page.items, page.next) == ([], None)


def test_the_model_of_the_admin_asks_for_a_tenant(acme: TenantRef, events: list[dict[str, Any]]) -> None:
    with pytest.raises(NoTenant):
        LoggedEvent.objects.all()
    with pytest.raises(NoTenant):
        LoggedEvent.objects.filter(tenant=acme.id)
    found = list(LoggedEvent.objects.for_tenant(acme).filter(seq__gt=COUNT - 3).order_by("-seq"))
    assert [(each.seq, each.tenant) for each in found] == [(COUNT - number, acme.id) for number in range(3)]
    assert found[0].actor == events[-1]["actor"]
    assert found[0].data == events[-1]["data"]
    with pytest.raises(TypeError):
        found[0].delete()
    with pytest.raises(TypeError):
        found[0].save()

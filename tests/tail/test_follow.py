"""What a client that follows the log gets: each event once, in order, with its number as its id, and of its own tenant alone."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from activity import log
from activity.search import Query
from tests.operations.processes import FrontEnd
from tests.tail.conftest import Followed, faults
from tests.tail.listening import Listener


def test_an_event_comes_as_the_list_shows_it(stream: FrontEnd, followed: Followed) -> None:
    async def run() -> None:
        head = await asyncio.to_thread(followed.head)
        listener = await followed.listen(stream)
        assert (listener.status, listener.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert listener.headers["cache-control"] == "no-store"
        await asyncio.to_thread(followed.record, 17)
        event = await listener.event()
        assert (event["seq"], event["data"]) == (head + 1, {"pages": 17})
        assert listener.last == str(head + 1)
        listed = await asyncio.to_thread(
            httpx.get,
            f"{stream.url}/api/v1/activity?limit=1",
            headers={"Host": followed.host, "Authorization": f"Bearer {followed.secret}"},
        )
        assert listed.json()["items"] == [event]
        listener.cut()

    asyncio.run(run())


def test_forty_clients_get_each_event_once(stream: FrontEnd, followed: Followed) -> None:
    """At full size, and timed: tests/benchmarks/test_tail.py."""
    events = 60

    async def run() -> None:
        head = await asyncio.to_thread(followed.head)
        listeners = await asyncio.gather(*(followed.listen(stream) for _ in range(40)))
        for first in range(0, events, 3):
            await asyncio.to_thread(followed.record, first, first + 1, first + 2)
        got = await asyncio.gather(*(listener.take(events) for listener in listeners))
        wanted = list(range(head + 1, head + 1 + events))
        assert [faults(wanted, numbers) for numbers in got] == [[]] * 40
        for listener in listeners:
            with pytest.raises(TimeoutError):
                await listener.next(seconds=0.01)
            listener.cut()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("query", "fitting"),
    [
        ("?target=report:3", [3]),
        ("?action=report.", [1, 2, 3, 4]),
        ("?action=member.", []),
        ("?q=report%203&source=system", [3]),
        ("?actor=system:system&target=report:2", [2]),
        ("?actor=member:nobody", []),
    ],
)
def test_only_what_fits_the_filters_comes(stream: FrontEnd, followed: Followed, query: str, fitting: list[int]) -> None:
    async def run() -> None:
        listener = await followed.listen(stream, query)
        everything = await followed.listen(stream)
        await asyncio.to_thread(followed.record, 1, 2, 3, 4)
        await everything.take(4)  # so that what would come is there
        got = [(await listener.event())["data"]["pages"] for _ in fitting]
        assert got == fitting
        with pytest.raises(TimeoutError):
            await listener.next(seconds=0.2)
        listener.cut()
        everything.cut()

    asyncio.run(run())


def test_what_is_filtered_when_it_is_caught_up_on_is_what_is_filtered_live(
    stream: FrontEnd, followed: Followed
) -> None:
    async def run() -> None:
        head = await asyncio.to_thread(followed.head)
        await asyncio.to_thread(followed.record, *range(30))
        listener = await followed.listen(stream, f"?after={head}&target=report:7")
        await asyncio.to_thread(followed.record, 7, 8)
        assert await listener.take(2) == [head + 8, head + 31]
        listener.cut()

    asyncio.run(run())


def test_another_tenants_events_never_come(stream: FrontEnd, followed: Followed, other: Followed) -> None:
    async def run() -> None:
        here, there = await followed.listen(stream), await other.listen(stream)
        await asyncio.to_thread(other.record, 1001)
        assert (await there.event())["data"] == {"pages": 1001}
        await asyncio.to_thread(followed.record, 1002)
        assert (await here.event())["data"] == {"pages": 1002}
        with pytest.raises(TimeoutError):
            await there.next(seconds=0.2)
        refused = await Listener.open(
            stream.url, host=other.host, Authorization=f"Bearer {followed.secret}"
        )  # a token of one is nothing in the other
        assert refused.status == 401
        for listener in (here, there, refused):
            listener.cut()

    asyncio.run(run())


def test_a_row_of_the_page_may_come_in_the_place_of_json(stream: FrontEnd, followed: Followed) -> None:
    async def run() -> None:
        listener = await followed.listen(stream, "?format=html")
        await asyncio.to_thread(followed.record, 21)
        number, row = await listener.next()
        assert row.startswith('<li data-action="report.published">')
        assert f"#{number}" in row
        assert 'href="/activity?target=report%3A21"' in row
        listener.cut()

    asyncio.run(run())


@pytest.mark.parametrize("query", ["?after=-1", "?after=x", "?source=nowhere", "?actor=nobody", "?format=xml"])
def test_what_can_not_be_asked_is_422(stream: FrontEnd, followed: Followed, query: str) -> None:
    async def run() -> None:
        refused = await followed.listen(stream, query)
        assert (refused.status, (await refused.body())["status"]) == (422, 422)
        refused.cut()

    asyncio.run(run())


def test_a_last_event_id_that_is_no_number_is_422(stream: FrontEnd, followed: Followed) -> None:
    async def run() -> None:
        refused = await followed.listen(stream, Last_Event_ID="yesterday")
        assert refused.status == 422
        assert list((await refused.body())["errors"]) == ["Last-Event-ID"]
        refused.cut()

    asyncio.run(run())


def test_nobody_follows_without_a_right(stream: FrontEnd, followed: Followed) -> None:
    async def run() -> None:
        nobody = await Listener.open(stream.url, host=followed.host)
        wrong = await Listener.open(stream.url, host=followed.host, Authorization="Bearer nonsense")
        assert (nobody.status, wrong.status) == (401, 401)
        nobody.cut()
        wrong.cut()

    asyncio.run(run())


def test_the_log_holds_what_was_followed(followed: Followed) -> None:
    """The numbers that clients are held against are those of the log: it has each of them once."""
    head = followed.settle()
    page = log.page(followed.ref, head=head, query=Query(order="oldest"), cursor=None, limit=500)
    assert [event["seq"] for event in page.items] == list(range(1, len(page.items) + 1))

"""A client that was cut off goes on with its Last-Event-ID: it misses nothing, and gets nothing twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from activity import mongo
from activity.models import LogHead
from activity.search import Query
from activity.tail import channel as channels
from activity.tail import follower as followers
from activity.tail import watch as watches
from activity.tail.follower import Follower, Wanted
from activity.tail.hub import hub
from tenants.context import use_tenant
from tests.operations.conftest import Start
from tests.operations.processes import FrontEnd
from tests.system import wait_for
from tests.tail.conftest import Followed, InLoop, faults


async def cut_and_resume(stream: FrontEnd, followed: Followed, cuts: int) -> list[str]:
    """Record events all the time, cut a client that often, at random moments, and come back; what is wrong with what it got."""
    chance = random.Random(5)
    head = await asyncio.to_thread(followed.head)
    done = asyncio.Event()

    async def write() -> int:
        count = 0
        while not done.is_set():
            size = chance.randint(1, 5)
            await asyncio.to_thread(followed.record, *range(count, count + size))
            count += size
        return count

    writing = asyncio.create_task(write())
    got: list[int] = []
    listener = await followed.listen(stream, f"?after={head}")
    for _ in range(cuts):
        try:
            async with asyncio.timeout(chance.uniform(0.0, 0.15)):
                while True:
                    got.append((await listener.next())[0])
        except TimeoutError:
            pass
        listener.cut()
        listener = await followed.listen(stream, f"?after={head}", **{"Last-Event-ID": str(got[-1] if got else head)})
    done.set()
    last = head + await writing
    while not got or got[-1] < last:
        got.append((await listener.next())[0])
    listener.cut()
    print(f"\n{cuts} cuts, {len(got)} events")
    return faults(list(range(head + 1, last + 1)), got)


def test_twenty_cuts_lose_and_repeat_nothing(stream: FrontEnd, followed: Followed) -> None:
    """At full size: test_a_hundred_cuts_lose_and_repeat_nothing."""
    assert asyncio.run(cut_and_resume(stream, followed, 20)) == []


@pytest.mark.scenario
def test_a_hundred_cuts_lose_and_repeat_nothing(stream: FrontEnd, followed: Followed) -> None:
    assert asyncio.run(cut_and_resume(stream, followed, 100)) == []


def test_a_client_that_got_nothing_yet_knows_where_it_is(stream: FrontEnd, followed: Followed) -> None:
    async def run() -> None:
        head = await asyncio.to_thread(followed.head)
        listener = await followed.listen(stream)
        with pytest.raises(TimeoutError):
            await listener.next(seconds=0.3)
        assert listener.last == str(head)
        listener.cut()
        await asyncio.to_thread(followed.record, 1, 2)
        listener = await followed.listen(stream, **{"Last-Event-ID": listener.last})
        assert await listener.take(2) == [head + 1, head + 2]
        listener.cut()

    asyncio.run(run())


def test_a_number_that_the_log_has_not_reached_begins_at_its_end(stream: FrontEnd, followed: Followed) -> None:
    async def run() -> None:
        head = await asyncio.to_thread(followed.head)
        listener = await followed.listen(stream, f"?after={head + 1000}")
        await asyncio.to_thread(followed.record, 1)
        assert await listener.take(1) == [head + 1]
        listener.cut()

    asyncio.run(run())


def test_what_was_given_out_before_the_relay_noted_it_is_not_repeated(stream: FrontEnd, followed: Followed) -> None:
    """The log has an event, and Postgres doesn't say so yet, as between the relay's two writes."""

    async def run() -> None:
        head = await asyncio.to_thread(followed.head)
        await asyncio.to_thread(followed.record, 1, 2)
        await asyncio.to_thread(note_head, followed, head)
        listener = await followed.listen(stream, **{"Last-Event-ID": str(head + 1)})
        try:
            assert await listener.take(1) == [head + 2]
        finally:
            await asyncio.to_thread(note_head, followed, head + 2)
        await asyncio.to_thread(followed.record, 3)
        assert await listener.take(1) == [head + 3]
        listener.cut()

    asyncio.run(run())


def note_head(followed: Followed, number: int) -> None:
    with use_tenant(followed.ref):
        LogHead.objects.update(appended=number)


def test_at_sigterm_streams_end_whole_and_clients_go_on_in_the_next_process(start: Start, followed: Followed) -> None:
    async def run() -> None:
        stream = await asyncio.to_thread(start, "stream")
        head = await asyncio.to_thread(followed.head)
        listeners = await asyncio.gather(*(followed.listen(stream) for _ in range(10)))
        await asyncio.to_thread(followed.record, 1)
        for listener in listeners:
            assert await listener.take(1) == [head + 1]
        code, seconds = await asyncio.to_thread(stream.started.terminate)
        assert code == 0
        assert seconds < 10
        for listener in listeners:
            assert await listener.end() == []
            assert listener.is_whole
        await asyncio.to_thread(followed.record, 2, 3)
        following = await asyncio.to_thread(start, "stream")
        again = await asyncio.gather(
            *(followed.listen(following, **{"Last-Event-ID": listener.last}) for listener in listeners)
        )
        for listener in again:
            assert await listener.take(2) == [head + 2, head + 3]
            listener.cut()

    asyncio.run(run())


# --- The parts by themselves, and without what they rely on ------------------------------------------------------------------


async def gather(follower: Follower, last: int, seconds: float = 10.0) -> list[int]:
    """The numbers that go out until `last` has, or for as long as it takes."""
    numbers: list[int] = []
    try:
        async with asyncio.timeout(seconds):
            async for block in follower.blocks():
                events = [part for part in block.decode().split("\n\n") if "data: " in part]
                numbers += [int(part.partition("id: ")[2].partition("\n")[0]) for part in events]
                if numbers and numbers[-1] >= last:
                    break
    except TimeoutError:
        pass
    return numbers


def everything(after: int | None) -> Wanted:
    return Wanted(Query(), after, "json")


def caught_up(in_loop: InLoop[Any], followed: Followed, count: int, *, timeout: float = 10.0) -> list[str]:
    """What is wrong with what a client gets that comes back for so many events, while more are recorded."""
    before = followed.head()
    followed.record(*range(count))
    caller = followed.caller()

    async def run() -> list[str]:
        async with hub().follow(followed.ref, caller, everything(before)) as follower:
            await asyncio.to_thread(followed.record, *range(5))
            numbers = await gather(follower, before + count + 5, timeout)
            return faults(list(range(before + 1, before + count + 6)), numbers)

    return in_loop(run)


def test_a_client_catches_up_from_the_log(in_loop: InLoop[Any], followed: Followed) -> None:
    assert caught_up(in_loop, followed, 700) == []  # more than a channel keeps, and than is read at once


def test_without_reading_the_log_events_are_lost(
    in_loop: InLoop[Any], followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: what a channel doesn't keep would be gone."""
    monkeypatch.setattr(channels.Channel, "behind", lambda self, seq: list(self._frames)[-max(self.head - seq, 0) :])
    assert any(fault.startswith("lost") for fault in caught_up(in_loop, followed, 20, timeout=3))


def test_without_its_position_a_client_gets_events_again(
    in_loop: InLoop[Any], followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: one number less, and the seam shows."""
    begin = Follower.begin
    monkeypatch.setattr(Follower, "begin", lambda self, position: begin(self, position - 1))
    assert any(fault.startswith("not asked for") for fault in caught_up(in_loop, followed, 20))


def broken_stream(in_loop: InLoop[Any], followed: Followed, *, timeout: float) -> list[str]:
    """Break the change stream, record while there is none, and let it come back; what is wrong with what a client gets."""
    caller, head = followed.caller(), followed.head()

    async def run() -> list[str]:
        async with hub().follow(followed.ref, caller, everything(None)) as follower:
            hub()._tasks[0].cancel()
            await asyncio.to_thread(followed.record, 1, 2, 3)
            hub()._tasks[0] = asyncio.create_task(hub()._watch.run())
            return faults([head + 1, head + 2, head + 3], await gather(follower, head + 3, timeout))

    return in_loop(run)


def test_what_is_appended_while_the_change_stream_is_broken_comes_when_it_is_back(
    in_loop: InLoop[Any], followed: Followed
) -> None:
    assert broken_stream(in_loop, followed, timeout=10) == []


def test_without_the_catch_up_by_number_a_broken_change_stream_loses_events(
    in_loop: InLoop[Any], followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a change stream that is open again says nothing of what was missed."""
    wake = watches.Watch.__init__

    def deaf(self: watches.Watch, tell: Any) -> None:
        wake(self, lambda tenant_id: tell(tenant_id) if tenant_id is not None else None)

    monkeypatch.setattr(watches.Watch, "__init__", deaf)
    assert any(fault.startswith("lost") for fault in broken_stream(in_loop, followed, timeout=2))


def test_a_channel_reads_once_for_all_who_follow(
    in_loop: InLoop[Any], followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty clients and one event: the log is read for the channel, and the event is written down once."""
    caller, head = followed.caller(), followed.head()
    reads, written = [], []
    behind, encode = channels.log_async.behind, followers.Frame.encoded

    async def counted(*args: Any) -> Any:
        reads.append(args)
        return await behind(*args)

    def noted(self: Any, form: Any) -> bytes:
        written.append(form not in self._encoded)
        return encode(self, form)

    monkeypatch.setattr(channels.log_async, "behind", counted)
    monkeypatch.setattr(followers.Frame, "encoded", noted)

    async def run() -> None:
        async with many(followed, caller, 20) as all_of_them:
            waiting = [asyncio.create_task(gather(follower, head + 1)) for follower in all_of_them]
            await asyncio.sleep(0)
            reads.clear()
            await asyncio.to_thread(followed.record, 1)
            assert [await each for each in waiting] == [[head + 1]] * 20
            assert len(hub().channels) == 1

    in_loop(run)
    assert len(reads) <= 3  # the event's own, and those that find nothing more
    assert sum(written) == 1
    assert len(written) == 20


@asynccontextmanager
async def many(followed: Followed, caller: Any, number: int) -> AsyncIterator[list[Follower]]:
    """So many followers at once."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(hub().follow(followed.ref, caller, everything(None))) for _ in range(number)
        ]


def test_when_the_last_one_leaves_nothing_is_left_running(in_loop: InLoop[Any], followed: Followed) -> None:
    caller = followed.caller()

    async def run() -> None:
        async with many(followed, caller, 3):
            assert len(hub()._tasks) == 2
        assert (hub().channels, hub()._tasks, hub()._followers) == ({}, [], 0)

    in_loop(run)


@pytest.mark.parametrize("action", ["member.erased", "member.removed"])
def test_what_is_kept_goes_when_a_person_is_erased(
    followed: Followed, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """With the control: another event leaves what is kept."""
    batches = [[{"seq": 1, "action": "a.b", "terms": []}], [{"seq": 2, "action": action, "terms": []}]]

    async def behind(*_: Any) -> Any:
        return batches.pop(0)

    async def items(_: Any, documents: Any) -> Any:
        return documents

    monkeypatch.setattr(channels.log_async, "behind", behind)
    monkeypatch.setattr(channels.log_async, "items", items)

    async def run() -> list[int] | None:
        channel = channels.Channel(followed.ref)
        await channel._advance()
        await channel._advance()
        kept = channel.behind(0)
        return None if kept is None else [frame.seq for frame in kept]

    assert asyncio.run(run()) == (None if action == "member.erased" else [1, 2])


def test_numbers_that_have_left_the_log_are_passed(in_loop: InLoop[Any], other: Followed) -> None:
    """As retention does it: whole ranges go, and a client that was before them gets what comes behind."""
    before = other.head()
    other.record(*range(40))
    mongo.events().delete_many({"tenant": other.ref.id, "seq": {"$gt": before + 2, "$lte": before + 30}})
    caller = other.caller()

    async def run() -> None:
        async with hub().follow(other.ref, caller, everything(before)) as follower:
            await asyncio.to_thread(other.record, 1)
            numbers = await gather(follower, before + 41)
            assert numbers == [before + 1, before + 2, *range(before + 31, before + 42)]

    in_loop(run)


def test_a_stream_whose_client_left_is_taken_off_the_books(stream: FrontEnd, followed: Followed) -> None:
    async def run() -> None:
        listeners = await asyncio.gather(*(followed.listen(stream) for _ in range(5)))
        for listener in listeners:
            listener.cut()

    asyncio.run(run())
    wait_for(lambda: followers_of(stream) == 0, what="the end of the followers")


def followers_of(stream: FrontEnd) -> float:
    text = stream.get("/metrics").text
    lines = [line for line in text.splitlines() if line.startswith("tenantry_activity_followers")]
    return sum(float(line.split()[-1]) for line in lines)

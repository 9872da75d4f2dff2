"""Answers of `stream` that last: events and downloads. What they hold of threads, memory and connections, and how they end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.operations.conftest import Start
from tests.operations.processes import FrontEnd
from tests.system import wait_for

APP = "tests.operations.native_app:application"
HEAD = "Host: acme.localhost\r\nAuthorization: Bearer anything\r\n"


def state(stream: FrontEnd) -> dict[str, Any]:
    found: dict[str, Any] = stream.get("/state").json()
    return found


async def ask(stream: FrontEnd, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request; nothing of the answer is read."""
    host, port = stream.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 16)
    writer.write(f"GET {path} HTTP/1.1\r\n{HEAD}\r\n".encode())
    return reader, writer


def warm(stream: FrontEnd) -> dict[str, Any]:
    """The state once the threads are there that read the registry beside the loop: two, for hosts and for servers."""
    for _ in range(3):
        for host in ("acme.localhost", "globex.localhost"):
            assert stream.get("/fast", host=host, Authorization="Bearer x").status_code == 200
        time.sleep(1.1)  # what is remembered is old by then, and read again
    return state(stream)


def open_event_streams(stream: FrontEnd, number: int) -> dict[str, Any]:
    """Open so many streams at once, see the first event of each, and end all by SIGTERM. Returns the state while they were open."""

    async def run() -> dict[str, Any]:
        opened = await asyncio.gather(*(ask(stream, "/events") for _ in range(number)))
        for reader, _ in opened:
            assert b"id: 1" in await asyncio.wait_for(reader.readuntil(b"id: 1"), 30)
        found = await asyncio.to_thread(state, stream)
        stream.started.popen.terminate()
        ends = [await asyncio.wait_for(reader.read(), 30) for reader, _ in opened]
        assert all(end.endswith(b"0\r\n\r\n") for end in ends)  # each whole: none was cut
        for _, writer in opened:
            writer.close()
        return found

    return asyncio.run(run())


def test_fifty_event_streams_take_no_thread_and_no_connection_and_end_at_sigterm(start: Start) -> None:
    stream = start("stream", APP)
    before = warm(stream)["threads"]
    found = open_event_streams(stream, 50)
    assert found["threads"] <= before + 1  # the registry's second reader may be new; of streams there are fifty
    assert found["running"] == 0
    assert stream.started.popen.wait(15) == 0


@pytest.mark.scenario
def test_five_hundred_event_streams_add_no_thread(start: Start) -> None:
    """In the ordinary suite: test_fifty_event_streams_take_no_thread_and_no_connection_and_end_at_sigterm."""
    stream = start("stream", APP)
    before = warm(stream)
    found = open_event_streams(stream, 500)
    print(
        f"\nthreads {before['threads']} -> {found['threads']}, memory +{(found['memory'] - before['memory']) >> 20} MiB"
    )
    assert found["threads"] <= before["threads"] + 1


def test_silence_is_filled_with_heartbeats_and_a_client_that_leaves_ends_the_work(start: Start) -> None:
    stream = start("stream", APP)
    ours = {"Events._tell", "Receiver.disconnected"}

    async def run() -> None:
        reader, writer = await ask(stream, "/events?heartbeat=0.05")
        for _ in range(3):
            await asyncio.wait_for(reader.readuntil(b"\r\n:\n\n\r\n"), 5)
        assert ours <= set((await asyncio.to_thread(state, stream))["tasks"])
        writer.close()

    asyncio.run(run())
    wait_for(lambda: not ours & set(state(stream)["tasks"]), what="the end of the stream's tasks")


def test_a_path_may_have_a_parameter(start: Start) -> None:
    stream = start("stream", APP)
    answer = stream.get("/reports/yearly", host="acme.localhost", Authorization="Bearer x")
    assert answer.json() == {"name": "yearly", "tenant": "acme"}
    assert stream.get("/reports/a/b", host="acme.localhost", Authorization="Bearer x").status_code == 404


def test_a_query_whose_client_leaves_is_cancelled_at_the_server(start: Start) -> None:
    stream = start("stream", APP)

    async def run() -> None:
        _, writer = await ask(stream, "/sleep?s=60")
        await asyncio.sleep(1.0)
        assert (await asyncio.to_thread(state, stream))["running"] == 1
        writer.close()

    asyncio.run(run())
    started = time.monotonic()
    wait_for(lambda: state(stream)["running"] == 0, timeout=2.0, what="the end of the query")
    assert time.monotonic() - started < 2.0
    stats = next(iter(state(stream)["pools"].values()))
    assert (stats["pool_size"], stats["pool_available"], stats["returns_bad"]) == (1, 1, 0)
    line = stream.started.wait_for_line(event="request", route="/sleep")
    assert line["status"] == 499


def test_a_full_pool_refuses_that_tenant_alone_and_says_when_to_come_again(start: Start) -> None:
    stream = start("stream", APP, POOL_MAX="5")  # four native ones, of which a tenant runs three

    async def run() -> None:
        asked = [await ask(stream, "/sleep?s=20") for _ in range(3)]
        await asyncio.sleep(1.0)
        waiting = [await ask(stream, "/sleep?s=20") for _ in range(40)]  # a line of 80, half of it for a tenant
        await asyncio.sleep(0.5)
        refused = await asyncio.to_thread(stream.get, "/fast", host="acme.localhost", Authorization="Bearer x")
        other = await asyncio.to_thread(stream.get, "/fast", host="globex.localhost", Authorization="Bearer x")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert refused.json()["request_id"] == refused.headers["X-Request-ID"]
        assert other.status_code == 200
        for _, writer in asked + waiting:
            writer.close()

    asyncio.run(run())
    wait_for(lambda: state(stream)["running"] == 0, what="the end of all queries")


def download(stream: FrontEnd, number: int, rows: int) -> int:
    """So many downloads of so many rows at once, each read to its end. Returns the highest memory above that of before, in bytes."""

    async def run() -> int:
        idle = (await asyncio.to_thread(state, stream))["memory"]
        highest = idle
        loads = [asyncio.create_task(count_rows(stream, rows)) for _ in range(number)]
        done: set[Any] = set()
        while len(done) < number:
            done, _ = await asyncio.wait(loads, timeout=0.5)
            highest = max(highest, (await asyncio.to_thread(stream.get, "/state", timeout=60)).json()["memory"])
        assert [load.result() for load in loads] == [rows] * number
        return int(highest - idle)

    return asyncio.run(run())


async def count_rows(stream: FrontEnd, rows: int) -> int:
    """Read a download to its end, and count its rows: lines that hold a comma, which no chunk's length does."""
    reader, writer = await ask(stream, f"/rows?n={rows}")
    assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
    count, end = 0, b""
    while block := await reader.read(1 << 16):
        count += (end[-4:] + block).count(b",row ")  # a mark of five bytes may lie across two blocks
        end = (end + block)[-5:]
        if end == b"0\r\n\r\n":
            break
    writer.close()
    return count


def test_ten_downloads_at_once_are_whole_at_constant_memory(start: Start) -> None:
    stream = start("stream", APP)
    download(stream, 2, 1_000)
    assert download(stream, 10, 20_000) < 40 << 20


def test_a_client_that_reads_nothing_makes_postgres_wait_and_not_the_process_grow(start: Start) -> None:
    stream = start("stream", APP)
    stream.get("/rows", host="acme.localhost", Authorization="Bearer x")
    idle = state(stream)["memory"]

    async def run() -> None:
        asked = [await ask(stream, "/rows?n=10000000") for _ in range(5)]
        await asyncio.sleep(3.0)
        found = await asyncio.to_thread(state, stream)
        assert found["running"] == 5
        assert found["memory"] - idle < 20 << 20
        for _, writer in asked:
            writer.transport.abort()

    asyncio.run(run())
    wait_for(lambda: state(stream)["running"] == 0, what="the end of the downloads")


@pytest.mark.scenario
def test_forty_downloads_of_a_million_rows_stay_under_100_mib(start: Start) -> None:
    """In the ordinary suite: test_ten_downloads_at_once_are_whole_at_constant_memory."""
    stream = start("stream", APP, POOL_MAX="62")
    download(stream, 2, 1_000)
    started = time.monotonic()
    used = download(stream, 40, 1_000_000)
    print(f"\n40 downloads of 1,000,000 rows: {used >> 20} MiB above idle, {time.monotonic() - started:.0f} s")
    assert used < 100 << 20

"""Clients of `stream` that leave at random moments: no other gets a wrong answer, no session stays dirty, no connection is lost.

1,000 cuts run as a scenario, 150 in the ordinary suite. The control is in tests/tenants/test_async_cuts.py.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.operations.conftest import Start
from tests.operations.test_native_streams import APP, ask, state
from tests.system import wait_for


def cut_requests(stream: Any, cuts: int) -> None:
    """Cut requests over HTTP at random moments; others go on meanwhile, and each gets its own answer."""
    chosen = random.Random(4711)

    async def cut() -> None:
        path = chosen.choice([f"/sleep?s={chosen.random() / 20}", "/rows?n=200000", "/fast", "/echo?n=1"])
        _, writer = await ask(stream, path)
        await asyncio.sleep(chosen.random() / 20)
        writer.transport.abort()

    async def check(number: int) -> None:
        reader, writer = await ask(stream, f"/echo?n={number}")
        answer = await asyncio.wait_for(reader.readuntil(b"}"), 20)
        assert b" 200 " in answer
        assert b'{"n":"%d"' % number in answer
        writer.close()

    async def run() -> None:
        for number in range(0, cuts, 10):
            await asyncio.gather(*(cut() for _ in range(10)), check(number))

    asyncio.run(run())
    wait_for(lambda: state(stream)["running"] == 0, what="the end of all work")
    (stats,) = state(stream)["pools"].values()
    assert stats["pool_size"] == stats["pool_available"]
    print(f"{cuts} requests cut: {stats['connections_num']} opened, {stats['returns_bad']} closed as unclean")


def test_after_150_cut_requests_every_other_gets_its_own_answer(start: Start) -> None:
    cut_requests(start("stream", APP), 150)


@pytest.mark.scenario
def test_after_1000_cut_requests_every_other_gets_its_own_answer(start: Start) -> None:
    cut_requests(start("stream", APP), 1_000)

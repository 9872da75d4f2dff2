"""The monitor's tasks end when they are cancelled, whatever else they are told at that moment."""

from __future__ import annotations

import asyncio

import pytest

from tenants.db import monitor


@pytest.mark.parametrize("steps", range(8))
def test_a_node_that_is_woken_and_left_at_once_is_left(steps: int) -> None:
    """`unwatch` wakes all nodes, and those of its server are cancelled so many steps of the loop later."""

    async def follow(event: asyncio.Event) -> None:
        while True:
            await monitor._pause(event, 60)

    async def work() -> None:
        event = asyncio.Event()
        following = asyncio.create_task(follow(event))
        await asyncio.sleep(0.01)
        event.set()
        for _ in range(steps):
            await asyncio.sleep(0)
        following.cancel()
        done, _ = await asyncio.wait({following}, timeout=1)
        following.cancel()
        assert done == {following}

    asyncio.run(work())

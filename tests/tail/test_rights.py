"""Who may follow, from which page, for how long, and how many at once. A right that is taken away ends what is open within two seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from accounts.auth import caller_of
from accounts.models import User
from accounts.services.tokens import token_create, token_revoke
from activity.tail import channel as channels
from activity.tail.hub import Hub, hub
from tenants import context
from tenants.context import use_tenant
from tenants.lifecycle.offboard import resume_tenant, suspend_tenant
from tests.operations.conftest import Start
from tests.operations.processes import FrontEnd
from tests.tail.conftest import Followed, InLoop
from tests.tail.listening import Listener
from tests.tail.test_resume import everything, gather

WITHIN = 2.5  # seconds: 2 are promised, and the machine of a test run is busy


def member(followed: Followed, name: str) -> tuple[User, str]:
    """One who may read, and the key of a session of theirs."""
    with use_tenant(followed.ref):
        user = User.objects.create_user(f"{name}@{followed.ref.slug}.example", "correct horse", role="viewer")
        client = Client(HTTP_HOST=followed.host)
        client.force_login(user)
        return user, client.cookies["sessionid"].value


def ended_within(listener: Listener, take_away: Callable[[], Any]) -> Any:
    """Take a right away, and see the stream end in time, as a whole, though events go on."""

    async def run() -> None:
        await asyncio.to_thread(take_away)
        started = time.monotonic()
        await listener.end(WITHIN)
        assert time.monotonic() - started < WITHIN
        assert listener.is_whole

    return run()


def test_a_revoked_token_ends_its_streams_and_no_other(stream: FrontEnd, followed: Followed) -> None:
    with use_tenant(followed.ref):
        token, secret = token_create(user=followed.owner, name="short", scopes=["activity.read"])

    async def run() -> None:
        stays = await followed.listen(stream)
        listener = await followed.listen(stream, Authorization=f"Bearer {secret}")

        def revoke() -> None:
            with use_tenant(followed.ref):
                token_revoke(token=token)

        await ended_within(listener, revoke)
        again = await followed.listen(stream, Authorization=f"Bearer {secret}")
        assert again.status == 401
        await asyncio.to_thread(followed.record, 1)
        assert await stays.next()
        stays.cut()
        again.cut()

    asyncio.run(run())


@pytest.mark.parametrize("how", ["signed out", "password", "deactivated"])
def test_a_session_that_ends_ends_its_streams(stream: FrontEnd, followed: Followed, how: str) -> None:
    user, key = member(followed, f"session-{how.replace(' ', '-')}")

    def end() -> None:
        with use_tenant(followed.ref):
            if how == "signed out":
                client = Client(HTTP_HOST=followed.host)
                client.cookies["sessionid"] = key
                client.post("/logout")
            elif how == "password":
                user.set_password("another one entirely")
                user.save()
            else:
                User.objects.filter(pk=user.pk).update(is_active=False)

    async def run() -> None:
        listener = await Listener.open(stream.url, host=followed.host, Cookie=f"sessionid={key}")
        assert listener.status == 200
        await ended_within(listener, end)
        again = await Listener.open(stream.url, host=followed.host, Cookie=f"sessionid={key}")
        assert again.status == 401
        again.cut()

    asyncio.run(run())


def test_a_suspended_organisation_ends_its_streams(stream: FrontEnd, other: Followed) -> None:
    def suspend() -> None:
        with context.use_control():
            suspend_tenant(other.ref)

    async def run() -> None:
        listener = await other.listen(stream)
        try:
            await ended_within(listener, suspend)
            refused = await other.listen(stream)
            assert refused.status == 403
            refused.cut()
        finally:
            await asyncio.to_thread(resume)

    def resume() -> None:
        with context.use_control():
            other.ref = resume_tenant(other.ref)

    asyncio.run(run())


async def unasked(self: Hub) -> None:
    await asyncio.Event().wait()


def after_revoking(in_loop: InLoop[Any], followed: Followed) -> Any:
    """The numbers that go out to a client whose token was revoked two seconds before the event."""
    with use_tenant(followed.ref):
        token, _ = token_create(user=followed.owner, name="asked", scopes=["read"])
        caller = caller_of(followed.owner, token)

    def revoke() -> None:
        with use_tenant(followed.ref):
            token_revoke(token=token)

    async def run() -> list[int]:
        async with hub().follow(followed.ref, caller, everything(None)) as follower:
            await asyncio.to_thread(revoke)
            await asyncio.sleep(2.2)
            await asyncio.to_thread(followed.record, 1)
            return await gather(follower, 1 << 62, 1.0)

    return in_loop(run)


def test_nothing_goes_out_to_one_who_may_no_longer_read(in_loop: InLoop[Any], followed: Followed) -> None:
    assert after_revoking(in_loop, followed) == []


def test_nothing_goes_out_while_nobody_is_asked(
    in_loop: InLoop[Any], followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hub, "_ask_for_rights", unasked)
    assert after_revoking(in_loop, followed) == []


def test_without_either_a_revoked_token_reads_on(
    in_loop: InLoop[Any], followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    monkeypatch.setattr(Hub, "_ask_for_rights", unasked)
    monkeypatch.setattr(channels, "RIGHTS_HOLD", 1e9)
    assert after_revoking(in_loop, followed) != []


def test_while_rights_can_not_be_asked_for_nothing_goes_out_and_nothing_is_lost(
    in_loop: InLoop[Any], followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, head = followed.caller(), followed.head()
    rights_known = channels.Channel.rights_known

    async def run() -> None:
        async with hub().follow(followed.ref, caller, everything(None)) as follower:
            monkeypatch.setattr(channels.Channel, "rights_known", lambda self, moment: None)
            await asyncio.sleep(2.2)
            await asyncio.to_thread(followed.record, 1, 2)
            going = asyncio.create_task(gather(follower, head + 2, 8.0))
            await asyncio.sleep(0.5)
            assert not going.done()
            monkeypatch.setattr(channels.Channel, "rights_known", rights_known)
            assert await going == [head + 1, head + 2]

    in_loop(run)


# --- From which page -------------------------------------------------------------------------------------------------------


def test_the_page_of_this_host_may_read_it_from_the_other_port(stream: FrontEnd, followed: Followed) -> None:
    _, key = member(followed, "page")

    async def run() -> None:
        origin = f"http://{followed.host}:8000"
        listener = await Listener.open(stream.url, host=followed.host, Cookie=f"sessionid={key}", Origin=origin)
        assert listener.status == 200
        assert listener.headers["access-control-allow-origin"] == origin
        assert listener.headers["access-control-allow-credentials"] == "true"
        assert listener.headers["vary"] == "Origin"
        own = await Listener.open(
            stream.url, host=f"{followed.host}:81", Cookie=f"sessionid={key}", Origin=f"http://{followed.host}:81"
        )
        assert own.status == 200
        assert "access-control-allow-origin" not in own.headers
        listener.cut()
        own.cut()

    asyncio.run(run())


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://unfollowed.localhost:8000", "http://localhost:8000", "null"]
)
def test_no_other_page_may(stream: FrontEnd, followed: Followed, origin: str) -> None:
    _, key = member(followed, f"other-{abs(hash(origin))}")

    async def run() -> None:
        refused = await Listener.open(stream.url, host=followed.host, Cookie=f"sessionid={key}", Origin=origin)
        assert refused.status == 403
        assert "access-control-allow-origin" not in refused.headers
        refused.cut()

    asyncio.run(run())


def test_a_session_of_one_tenant_is_nothing_in_another(stream: FrontEnd, followed: Followed, other: Followed) -> None:
    _, key = member(followed, "guest")

    async def run() -> None:
        refused = await Listener.open(stream.url, host=other.host, Cookie=f"sessionid={key}")
        assert refused.status == 401
        refused.cut()

    asyncio.run(run())


# --- How many --------------------------------------------------------------------------------------------------------------


def test_beyond_the_limits_one_is_told_when_to_come_again(start: Start, followed: Followed, other: Followed) -> None:
    async def run() -> None:
        stream = await asyncio.to_thread(lambda: start("stream", TAIL_MAX="3", TAIL_MAX_PER_TENANT="2"))
        listeners = [await followed.listen(stream) for _ in range(2)]
        refused = await followed.listen(stream)
        assert (refused.status, refused.headers["retry-after"]) == (429, "10")
        assert "Your organisation has 2 live tails open" in (await refused.body())["detail"]
        listeners.append(await other.listen(stream))
        full = await other.listen(stream)
        assert (full.status, full.headers["retry-after"]) == (503, "10")
        listeners[0].cut()
        async with asyncio.timeout(5):
            while (late := await followed.listen(stream)).status != 200:
                late.cut()
        for listener in [*listeners[1:], refused, full, late]:
            listener.cut()

    asyncio.run(run())

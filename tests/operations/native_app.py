"""`stream` with routes of all kinds, whose caller is anybody: what they show is how long they wait, and for what."""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator
from functools import lru_cache
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django = get_asgi_application()

import psutil  # noqa: E402
from django.conf import settings  # noqa: E402
from django.contrib.contenttypes.models import ContentType  # noqa: E402
from django.db.models import CharField, Func, QuerySet, Value  # noqa: E402

from tenants.db import aio  # noqa: E402
from tenants.db.aio import pools  # noqa: E402
from tenants.native import (  # noqa: E402
    Copy,
    Event,
    Events,
    Json,
    NativeApplication,
    NativeRequest,
    Receive,
    Route,
    Scope,
    Send,
    send_json,
    tenant_route,
)


class Anybody:
    """May do all."""

    def require(self, verb: str) -> object:
        return self


async def anybody(authorization: str) -> Anybody:
    return Anybody()


settings.TENANTS_NATIVE_AUTHENTICATION = "tests.operations.native_app.anybody"


async def sleep(request: NativeRequest) -> Json:
    """Waits in Postgres for `s` seconds."""
    await aio.fetch(_sleeping(float(request.query().get("s", "0.1"))))
    return Json({"slept": True})


@lru_cache
def _sleeping(seconds: float) -> QuerySet[ContentType, tuple[Any, ...]]:
    """A queryset of one row, so that, other than after a statement of one's own, no session needs a reset."""
    nap = Func(Value(seconds), function="pg_sleep", output_field=CharField())
    return ContentType.objects.order_by("pk").annotate(nap=nap).values_list("nap")[:1]


async def echo(request: NativeRequest) -> Json:
    """What a query gives back for `n`, and in which database."""
    result = await aio.execute("SELECT %s::text, current_database()", [request.query().get("n", "")])
    return Json({"n": result.rows[0][0], "database": result.rows[0][1]})


async def fast(request: NativeRequest) -> Json:
    """One short query."""
    return Json({"found": len(await aio.fetch(ContentType.objects.values_list("pk").order_by("pk")[:1]))})


async def rows(request: NativeRequest) -> Copy:
    """`n` rows as CSV."""
    statement = "COPY (SELECT n, 'row ' || n AS name, md5(n::text) AS hash FROM generate_series(1, %s) AS n) TO STDOUT (FORMAT csv)"
    return Copy(statement, [int(request.query().get("n", "1000"))], filename="rows.csv")


async def report(request: NativeRequest) -> Json:
    """A path with a parameter."""
    return Json({"name": request.path_params["name"], "tenant": request.ref.slug})


async def events(request: NativeRequest) -> Events:
    """One event, and then nothing."""

    async def tell() -> AsyncGenerator[Event, None]:
        yield Event(data=str(threading.active_count()), event="threads", id="1")
        await asyncio.Event().wait()

    return Events(tell(), heartbeat=float(request.query().get("heartbeat", "15")))


async def state(scope: Scope, receive: Receive, send: Send) -> None:
    """Memory in bytes, threads, and the async pools."""
    content = {
        "memory": psutil.Process().memory_info().rss,
        "threads": threading.active_count(),
        "pools": {pool.name: pool.get_stats() for pool in pools.all_pools()},
        "running": sum(sum(pool._running.values()) for pool in pools.all_pools()),
        "tasks": [task.get_coro().__qualname__ for task in asyncio.all_tasks()],
    }
    await send_json(scope, send, content)


application = NativeApplication(
    routes=[
        Route("/sleep", tenant_route(sleep)),
        Route("/echo", tenant_route(echo)),
        Route("/fast", tenant_route(fast)),
        Route("/rows", tenant_route(rows)),
        Route("/reports/{name}", tenant_route(report)),
        Route("/events", tenant_route(events)),
        Route("/state", state),
    ],
    django=django,  # type: ignore[arg-type]
)

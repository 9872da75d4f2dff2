"""`stream` with a native route whose answer has no end, as a live tail has none."""

import asyncio
import os
import threading

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django = get_asgi_application()

from tenants.native import NativeApplication, Receive, Route, Scope, Send  # noqa: E402


async def forever(scope: Scope, receive: Receive, send: Send) -> None:
    """Says how many threads there are, then nothing until the process stops, then `bye`."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": f"{threading.active_count()}\n".encode(), "more_body": True})
    closing: asyncio.Event = scope["state"]["closing"]
    await closing.wait()
    await send({"type": "http.response.body", "body": b"bye\n"})


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("it broke with token=not-for-the-log")


application = NativeApplication(routes=[Route("/forever", forever), Route("/broken", broken)], django=django)

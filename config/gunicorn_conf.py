"""gunicorn's settings for both front ends; TENANTRY_PROCESS says which one this is.

`web` answers short queries in threads, `stream` holds what waits in one event loop (docs/architecture.md).
"""

from __future__ import annotations

import gc
import os
from typing import Any

process = os.environ.setdefault("TENANTRY_PROCESS", "web")
is_stream = process == "stream"

wsgi_app = "config.asgi:application" if is_stream else "config.wsgi:application"
worker_class = "asgi" if is_stream else "config.gunicorn_worker.DrainingThreadWorker"
bind = [os.environ.get("BIND") or f"0.0.0.0:{os.environ.get('PORT', '8000')}"]
workers = int(os.environ.get("WEB_CONCURRENCY", "1" if is_stream else "2"))
if not is_stream:
    threads = int(os.environ.get("THREADS", "16"))

# This bounds no request on gthread and asgi: it finds a worker whose main loop hangs. Queries have their own limits.
timeout = 60
# Seconds that requests in flight have after SIGTERM; a container's stop_grace_period must be longer.
graceful_timeout = int(os.environ.get("GRACEFUL_TIMEOUT", "25"))
# Longer than a proxy keeps a connection idle, or it would send a request into one that is being closed. Not in
# `stream`: at SIGTERM the asgi worker waits for idle connections too (25 s were measured), and a proxy repeats a GET.
keepalive = 5 if is_stream else 75

# Heartbeats are writes to a file: in memory, a slow disk can't make a worker look dead.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
# Nobody may say by a header that a request came over TLS; settings.SECURE_PROXY_SSL_HEADER is the one place for that.
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "")
# It would open a socket for remote control below the home directory.
control_socket_disable = True
# The middleware writes one structured line for each request.
accesslog = None
logger_class = "config.gunicorn_logger.StructuredLogger"


def on_starting(arbiter: Any) -> None:
    """Forget the numbers of a former run, before there are workers to write new ones."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from tenants import metrics_folder

    metrics_folder.wipe()


def post_worker_init(worker: Any) -> None:
    """Take what lasts as long as the process out of the garbage collector's sight.

    A full collection looks at every object: Django, its models and its URLs are some 400,000, and 20 to 30 ms in which no request of the
    process goes on.
    """
    from django.urls import get_resolver

    get_resolver().url_patterns  # noqa: B018  loaded now and not by the first request
    gc.collect()
    gc.freeze()
    # A request leaves hardly any cycles, but hundreds in flight hold enough objects to set it off again and again.
    gc.set_threshold(50_000, 20, 100)

    from tenants import usage

    usage.start_flusher()


def worker_exit(arbiter: Any, worker: Any) -> None:
    """Close the worker's connections, so that Postgres doesn't learn it from a broken socket."""
    if worker.pid != os.getpid():  # the arbiter calls this too, for a worker that it finds dead
        return
    from tenants import clients

    clients.close_all(timeout=2.0)

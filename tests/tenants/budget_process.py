"""Processes that work for many tenants through their pools, started by test_budget_of_a_server.py.

Arguments: the names of the databases as JSON, and the number of threads. Each line of stdin is a number of processes to fork; each says
`{"ready": pid}`, works until SIGTERM, and then prints what it did as JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from typing import Any

import django

django.setup()

import psycopg  # noqa: E402
from django.conf import settings  # noqa: E402

from tenants.db import pools  # noqa: E402
from tenants.db.base import RoutePool, application_name  # noqa: E402
from tenants.errors import PoolTimeout, TooManyRequests  # noqa: E402
from tenants.servers import control_endpoint  # noqa: E402


def say(**facts: Any) -> None:
    os.write(1, f"{json.dumps(facts)}\n".encode())  # in one piece, since all processes write to one pipe


def work_until_told(databases: list[str], threads: int) -> None:
    control = settings.DATABASES["control"]
    endpoint = control_endpoint()
    answers: Counter[str] = Counter()
    errors: list[str] = []
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    say(ready=os.getpid())

    def route(database: str) -> RoutePool:
        kwargs: dict[str, Any] = {
            "host": control["HOST"],
            "port": control["PORT"],
            "user": control["USER"],
            "password": control["PASSWORD"],
            "dbname": database,
            "application_name": application_name(database),
            "connect_timeout": 10,
        }
        return RoutePool(endpoint, alias=f"t:{database}:1", connect_kwargs=kwargs)

    def work() -> None:
        choose = random.Random(threading.get_ident())
        while not ended.is_set():
            try:
                connection = route(choose.choice(databases)).getconn()
                try:
                    connection.execute("SELECT pg_sleep(0.002)")
                    answers["served"] += 1
                finally:
                    pools.pool_of(endpoint).putconn(connection)
            except (PoolTimeout, TooManyRequests):
                answers["refused"] += 1
            except psycopg.Error as error:
                errors.append(f"{type(error).__name__}: {error}")
                time.sleep(0.05)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    most = 0
    while any(worker.is_alive() for worker in workers):
        most = max(most, threading.active_count())
        ended.wait(0.05)
        if ended.is_set():
            time.sleep(0.01)
    pools.close_all(3.0)
    say(
        pid=os.getpid(),
        served=answers["served"],
        refused=answers["refused"],
        errors=sorted(set(errors))[:3],
        threads=most,
    )


def main() -> None:
    databases, threads = json.loads(sys.argv[1]), int(sys.argv[2])
    children = []
    for line in sys.stdin:
        for _ in range(int(line)):
            child = os.fork()
            if not child:
                work_until_told(databases, threads)
                os._exit(0)
            children.append(child)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()

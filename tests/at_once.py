"""Calls that begin in the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tenants.context import use_tenant
from tenants.refs import TenantRef


def at_once(ref: TenantRef, *calls: Callable[[], Any]) -> list[Any]:
    """Run each call in a thread of its own, in the tenant, all from the same moment on; what each returned or raised."""
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        with use_tenant(ref):
            gate.wait(30)
            try:
                return call()
            except Exception as error:
                return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))

"""How a `stream` process divides its budget at an endpoint between its two pools.

`stream` runs native routes on an AsyncServerPool, and Django for all else on a ServerPool, which lend to different callers and can't
steal from each other. Each has its fixed share of `pool_max`, so that both together never exceed it: a fifth for Django, whose
short requests take turns in few threads, and the rest for the native routes, which may hold a connection for as long as
a download lasts. Other kinds of process have no native routes, and Django has all.
"""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

DJANGO_PART = 5  # one in so many


def share_of_django(budget: int) -> int:
    """How many of a process's connections to an endpoint its ServerPool may hold."""
    if settings.TENANTRY_PROCESS != "stream":
        return budget
    if budget < 2:
        raise ImproperlyConfigured("pool_max must be at least 2 in stream: one for Django and one for native routes.")
    return max(1, budget // DJANGO_PART)


def share_of_native(budget: int) -> int:
    """How many of them its AsyncServerPool may hold. Raises ImproperlyConfigured outside of `stream`, where there are none."""
    if settings.TENANTRY_PROCESS != "stream":
        raise ImproperlyConfigured(
            "Async connections are for the process `stream`; elsewhere the budget is Django's (TENANTRY_PROCESS)."
        )
    return budget - share_of_django(budget)

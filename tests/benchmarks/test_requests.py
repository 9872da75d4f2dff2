"""What a request and a query cost, in one tenant and from tenant to tenant. Run by `make bench`."""

import itertools
import statistics
import time
from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client

from accounts.models import User
from accounts.services.tokens import token_create
from tenants.context import use_tenant
from tenants.refs import TenantRef

pytestmark = pytest.mark.bench

ROUNDS = 1_000


def measure(what: str, run: Callable[[], object]) -> None:
    """Print the median and the 99th percentile of ROUNDS runs, in milliseconds, after a tenth of them to warm up."""
    times = []
    for _ in range(ROUNDS // 10):
        run()
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run()
        times.append(1000 * (time.perf_counter() - started))
    print(f"\n{what}: median {statistics.median(times):.3f} ms, p99 {statistics.quantiles(times, n=100)[98]:.3f} ms")


def ask() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def test_a_query_in_the_tenant_that_is_active(tenant: TenantRef) -> None:
    measure("a query in the active tenant", ask)


def test_a_query_in_the_next_tenant_each_time(acme: TenantRef, globex: TenantRef) -> None:
    refs = itertools.cycle([acme, globex])

    def enter_and_ask() -> None:
        with use_tenant(next(refs)):
            ask()

    measure("enter another tenant, and a query", enter_and_ask)


def test_a_request_with_a_token(tenant: TenantRef) -> None:
    user = User.objects.create_user(email="bench@acme.example", role="owner")
    _, secret = token_create(user=user, name="bench", scopes=["read"])
    client = Client(HTTP_HOST="acme.localhost", headers={"authorization": f"Bearer {secret}"})

    def request() -> None:
        assert client.get("/api/v1/members?limit=50").status_code == 200

    measure("GET /api/v1/members, without the network", request)

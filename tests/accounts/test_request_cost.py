"""What a request with a token asks of the servers, counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.api.schemas import MemberOut, PageOut
from accounts.models import User
from accounts.ratelimit import _TAKE
from accounts.services.members import member_create
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tenants.valkey import redis_client
from tests.accounts.conftest import Api, ApiOf


@contextmanager
def statements(ref: TenantRef) -> Iterator[CaptureQueriesContext]:
    """Every statement on the tenant's primary, which serves all of a test's reads."""
    with use_tenant(ref):
        wrapper = connections[ref.alias]
    with CaptureQueriesContext(wrapper) as captured:
        yield captured


def script_calls() -> int:
    stats: dict[str, Any] = redis_client().info("commandstats")  # type: ignore[assignment]
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "eval"))


@pytest.fixture
def asking(api: ApiOf, viewer: User, settings: Any) -> Api:
    """A client whose token was used a moment ago, with a limit that it is far from."""
    settings.RATE_LIMIT = "1000/m"
    client = api(viewer)
    assert client.get("/members").status_code == 200
    return client


def test_a_list_is_two_statements_and_one_script(asking: Api, acme: TenantRef) -> None:
    with statements(acme) as seen:
        assert asking.get("/members?limit=20").status_code == 200
    texts = [query["sql"] for query in seen]
    assert len(texts) == 2, texts
    assert "accounts_apitoken" in texts[0]  # token, user and role at once
    assert "accounts_apitoken" not in texts[1]
    calls = []
    for _ in range(5):  # the server counts the scripts of tests that run beside this one too
        before = script_calls()
        assert asking.get("/members?limit=20").status_code == 200
        calls.append(script_calls() - before)
    assert min(calls) == 1


def test_what_is_refused_reads_nothing_else(asking: Api, acme: TenantRef) -> None:
    with statements(acme) as seen:
        assert Api(asking.host, "tnt_nobody").get("/members").status_code == 401
    assert len(seen) == 1


def test_with_a_token_no_session_is_looked_at(asking: Api, acme: TenantRef, owner: User) -> None:
    client = Client(HTTP_HOST=asking.host)
    with use_tenant(acme):
        client.force_login(owner)
    with statements(acme) as seen:
        answer = client.get("/api/v1/me", headers={"Authorization": f"Bearer {asking.token}"})
    assert answer.json()["role"] == "viewer"  # the token's, not the session's
    assert not any("django_session" in query["sql"] for query in seen)


def test_the_rows_of_the_list_are_what_its_schema_says(asking: Api, acme: TenantRef) -> None:
    with use_tenant(acme):
        User.objects.filter(role="viewer").update(last_login="2026-01-02T03:04:05.678Z")
        member_create(by=None, email="grace@acme.example", name="Grace")
        members = list(User.objects.order_by("created_at", "id"))
    page = asking.get("/members").json()
    promised = PageOut[MemberOut](items=members, next=None).model_dump(mode="json")  # type: ignore[arg-type]
    assert page == promised


def test_valkey_begun_anew_is_told_the_script_again(asking: Api) -> None:
    redis_client().script_flush()
    assert asking.get("/members").status_code == 200
    assert redis_client().script_exists(_TAKE.sha) == [True]


def test_connections_that_died_while_they_waited_are_replaced(asking: Api) -> None:
    client = redis_client()
    assert client._kept
    for connection in client._kept:
        connection._sock.close()
    assert asking.get("/members").status_code == 200
    assert len(client._kept) == 1


def test_an_answer_that_nobody_waits_for_is_nobody_elses(asking: Api) -> None:
    """A request may fail between the question and its answer; the next question gets its own."""
    client = redis_client()
    client.ask(_TAKE, "test:left", 1, 1_000_000, "")
    assert all(connection.can_read() is False for connection in client._kept)
    assert client.run(_TAKE, "test:other", 1, 1_000_000, "") == 0


@pytest.mark.parametrize("path", ["/me", "/nothing", "/members?limit=0"])
def test_answers_on_the_short_way_have_the_headers_of_all(asking: Api, path: str) -> None:
    with_token = asking.get(path)
    without = Api(asking.host).get(path)
    for name in (
        "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy", "X-Request-ID",
    ):  # fmt: skip
        assert name in with_token.headers, name
    parts = [sorted(answer["Content-Security-Policy"].split("; ")) for answer in (with_token, without)]
    assert parts[0] == parts[1]
    assert with_token["Content-Length"] == str(len(with_token.content))
    assert with_token["Vary"] == "Authorization"
    assert with_token["Content-Type"].partition(";")[0] == (
        "application/json" if with_token.status_code == 200 else "application/problem+json"
    )

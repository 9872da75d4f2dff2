"""What `stream` answers natively is what `web` answers: bodies, refusals and headers; and each request is seen like any other."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from django.conf import settings

from accounts.models import User
from accounts.services.tokens import token_create
from tenants.context import use_tenant
from tests.operations.conftest import Start
from tests.operations.processes import FrontEnd
from tests.tenants.conftest import primary_url

HOST = "acme.localhost"
# A spreadsheet would run the first three, and the fourth without its apostrophes; then all that CSV and JSON have to escape.
NAMES = [
    "=1+1",
    "@cmd",
    "-2",
    "''=2+2",
    "'quoted",
    'a "b", c\\d',
    "two\nlines\ttab",
    "Grüße 😀",
    "",
    "\u2028",
    "\\.",
    "x\x7f",
]


@pytest.fixture(scope="module")
def tokens(django_db_setup: None, django_db_blocker: Any) -> Iterator[dict[str, str]]:
    """Tokens of committed members of acme, who are removed at the end."""
    from tenants.testing import prepare_tenants

    with django_db_blocker.unblock():
        ref = prepare_tenants()["acme"]
        with use_tenant(ref):
            owner = User.objects.create(email="native-owner@acme.example", role="owner")
            for number, name in enumerate(NAMES):
                User.objects.create(email=f"native-{number}@acme.example", name=name, role="viewer")
            made = {
                "all": token_create(user=owner, name="native", scopes=["read"])[1],
                "narrow": token_create(user=owner, name="narrow", scopes=["tenant.read"])[1],
            }
        yield made
        with use_tenant(ref):
            User.objects.filter(email__startswith="native-").delete()


def ask(front: FrontEnd, path: str, token: str | None, host: str = HOST, **headers: str) -> httpx.Response:
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return front.get(path, host=host, X_Request_ID="the-same-for-both", **headers)


PATHS = [
    "/api/v1/members",
    "/api/v1/members?limit=3",
    "/api/v1/members?limit=1&limit=2",
    "/api/v1/members?q=NATIVE-1&role=viewer",
    "/api/v1/members?q=Gr%C3%BC%C3%9F",
    "/api/v1/members?role=owner&unknown=1",
    # Refused
    "/api/v1/members?limit=0",
    "/api/v1/members?limit=",
    "/api/v1/members?limit=many",
    "/api/v1/members?role=king",
    "/api/v1/members?cursor=nonsense",
    "/api/v1/members?q=" + "x" * 300,
]


@pytest.mark.parametrize("path", PATHS)
def test_the_list_of_members_is_the_same_in_both(
    path: str, fronts: dict[str, FrontEnd], tokens: dict[str, str]
) -> None:
    web, stream = (ask(fronts[kind], path, tokens["all"]) for kind in ("web", "stream"))
    assert stream.status_code == web.status_code
    assert stream.content == web.content
    for name in web.headers.keys() - {"date", "server", "connection", "transfer-encoding", "content-length", "vary"}:
        found, wanted = stream.headers.get(name, ""), web.headers[name]
        # The directives of a policy have an order that differs from process to process.
        assert sorted(found.split("; ")) == sorted(wanted.split("; ")), name


def test_pages_follow_each_other_to_the_end(fronts: dict[str, FrontEnd], tokens: dict[str, str]) -> None:
    found: list[str] = []
    cursor = ""
    while cursor is not None:
        path = f"/api/v1/members?limit=5&q=native-{f'&cursor={cursor}' if cursor else ''}"
        page = ask(fronts["stream"], path, tokens["all"]).json()
        found += [member["email"] for member in page["items"]]
        cursor = page["next"]
    assert len(found) == len(set(found)) == len(NAMES) + 1


@pytest.mark.parametrize(
    ("token", "host", "headers"),
    [
        ("tnt_wrong", HOST, {}),
        ("narrow", HOST, {}),
        (None, HOST, {}),
        (None, HOST, {"Authorization": "Basic abc"}),
        (None, HOST, {"Cookie": "sessionid=nonsense"}),
        ("all", "globex.localhost", {}),
        ("all", "nobody.localhost", {}),
        ("all", "localhost", {}),
    ],
)
def test_refusals_are_the_same_in_both(
    token: str | None, host: str, headers: dict[str, str], fronts: dict[str, FrontEnd], tokens: dict[str, str]
) -> None:
    secret = tokens.get(token, token) if token else None
    web, stream = (ask(fronts[kind], "/api/v1/members", secret, host, **headers) for kind in ("web", "stream"))
    assert web.status_code >= 400
    assert (stream.status_code, stream.content) == (web.status_code, web.content)
    for name in ("content-type", "www-authenticate", "x-request-id"):
        assert stream.headers.get(name) == web.headers.get(name)


def test_other_methods_are_answered_by_django(fronts: dict[str, FrontEnd], tokens: dict[str, str]) -> None:
    bearer = {"Host": HOST, "Authorization": f"Bearer {tokens['all']}"}
    assert httpx.put(f"{fronts['stream'].url}/api/v1/members", headers=bearer).status_code == 405


def test_a_download_of_csv_is_whole_and_harmless(fronts: dict[str, FrontEnd], tokens: dict[str, str]) -> None:
    answer = ask(fronts["stream"], "/api/v1/members.csv", tokens["all"])
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="members.csv"'
    head, *rows = csv.reader(io.StringIO(answer.text, newline=""))
    assert head == ["id", "email", "name", "role", "is_active", "created_at", "last_login_at"]
    names = {row[1]: row[2] for row in rows}
    guarded = {"=1+1": "'=1+1", "@cmd": "'@cmd", "-2": "'-2", "''=2+2": "'''=2+2"}
    for number, name in enumerate(NAMES):
        assert names[f"native-{number}@acme.example"] == guarded.get(name, name)
    assert answer.content == ask(fronts["web"], "/api/v1/members.csv", tokens["all"]).content


def test_a_download_of_ndjson_has_what_the_list_has(fronts: dict[str, FrontEnd], tokens: dict[str, str]) -> None:
    answer = ask(fronts["stream"], "/api/v1/members.ndjson", tokens["all"])
    listed = ask(fronts["stream"], "/api/v1/members?limit=500", tokens["all"]).json()["items"]
    lines = [json.loads(line) for line in answer.text.split("\n")[:-1]]
    assert [line | {"created_at": ""} for line in lines] == [member | {"created_at": ""} for member in listed]


def test_a_connection_is_kept_from_one_native_request_to_the_next(
    fronts: dict[str, FrontEnd], tokens: dict[str, str]
) -> None:
    with httpx.Client(base_url=fronts["stream"].url) as client:
        headers = {"Host": HOST, "Authorization": f"Bearer {tokens['all']}"}
        streams = set()
        for path in ("/api/v1/members", "/api/v1/members.csv", "/api/v1/members", "/live"):
            answer = client.get(path, headers=headers)
            assert answer.status_code == 200
            streams.add(answer.extensions["network_stream"])
    assert len(streams) == 1


def test_a_native_request_is_logged_counted_and_its_pool_seen(start: Start, tokens: dict[str, str]) -> None:
    stream = start("stream")
    assert ask(stream, "/api/v1/members", tokens["all"]).status_code == 200
    line = stream.started.wait_for_line(event="request", route="/api/v1/members")
    assert (line["tenant"], line["status"], line["request_id"]) == ("acme", 200, "the-same-for-both")
    pools = stream.get("/ready?detail").json()["pools"]
    (name,) = (name for name in pools if name.endswith(" async"))
    assert pools[name]["connections_num"] == 1
    django = next(stats["pool_max"] for other, stats in pools.items() if other != name)
    assert 1 <= pools[name]["pool_max"] <= 16  # what it has leased, of its share of the process's 20
    assert 1 <= django <= 4
    with psycopg.connect(primary_url(), dbname=settings.DATABASES["control"]["NAME"], autocommit=True) as control:
        leases = "SELECT size FROM tenants_lease WHERE process LIKE 'stream %' AND renewed_at > now() - interval '10 s'"
        assert len(control.execute(leases).fetchall()) >= 2  # one for each of its pools
    measured = stream.get("/metrics").text
    assert f'tenantry_pool_size{{pool="{name}",process="stream"}} 1.0' in measured
    assert 'route="/api/v1/members",status="2xx"' in measured


def test_a_suspended_tenant_is_refused_within_two_seconds(
    start: Start, tokens: dict[str, str], django_db_blocker: Any
) -> None:
    from tenants.context import use_control
    from tenants.models import Tenant
    from tests.system import wait_for

    stream = start("stream")
    assert ask(stream, "/api/v1/members", tokens["all"]).status_code == 200

    def set_state(state: str) -> None:
        with django_db_blocker.unblock(), use_control():
            Tenant.objects.filter(slug="acme").update(state=state)

    set_state("suspended")
    try:
        wait_for(lambda: ask(stream, "/api/v1/members", tokens["all"]).status_code == 403, timeout=2.0)
    finally:
        set_state("active")
    wait_for(lambda: ask(stream, "/api/v1/members", tokens["all"]).status_code == 200, timeout=2.0)


def test_the_rate_limit_counts_requests_of_both_front_ends_together(start: Start, tokens: dict[str, str]) -> None:
    web, stream = (start(kind, RATE_LIMIT="6/h") for kind in ("web", "stream"))
    found = [ask(front, "/api/v1/members", tokens["all"]) for front in (web, stream) * 4]
    assert [answer.status_code for answer in found] == [200] * 6 + [429] * 2
    assert found[6].headers["Retry-After"].isdigit()
    assert found[6].json().keys() == found[7].json().keys()
    assert found[7].headers["Retry-After"].isdigit()

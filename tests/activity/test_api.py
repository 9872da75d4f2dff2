"""`/api/v1/activity`: what goes in comes out, by the contract's filters, for those who may."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from django.http import HttpResponse
from django.test import Client

from accounts.models import User
from activity.relay import relay
from tenants import context
from tenants.refs import TenantRef
from tests.accounts.conftest import (  # noqa: F401  fixtures
    Api,
    ApiOf,
    api,
    fresh_limits,
    member,
    owner,
    quick_passwords,
    stranger,
    viewer,
)

ID = "075c518b-164f-5cb7-bfc2-5ab27274aabf"
EVENT: dict[str, Any] = {
    "id": ID,
    "at": "2009-04-24T13:30:00+02:00",
    "action": "commit.pushed",
    "actor": {"type": "user", "id": "d4cb74908bdb", "name": "Ask Solem"},
    "target": {"type": "repository", "id": "celery", "name": "celery/celery"},
    "data": {"commit": "dd5db41a55cd", "subject": "Initial commit.", "files": 1},
}


@pytest.fixture
def client(api: ApiOf, owner: User) -> Api:  # noqa: F811
    return api(owner)


def body(response: HttpResponse) -> Any:
    return orjson.loads(response.content)


def relay_all(ref: TenantRef) -> None:
    with context.use_tenant(ref):
        relay(ref)


def batch(count: int, **changes: Any) -> dict[str, Any]:
    return {"events": [EVENT | {"id": f"00000000-0000-4000-8000-{number:012}", **changes} for number in range(count)]}


def listed(client: Api, query: str = "source=api") -> list[dict[str, Any]]:
    answer = client.get(f"/activity?{query}")
    assert answer.status_code == 200, answer.content
    items: list[dict[str, Any]] = body(answer)["items"]
    return items


def test_an_event_that_was_sent_in_is_in_the_log(acme: TenantRef, client: Api) -> None:
    answer = client.post("/activity", EVENT)
    assert answer.status_code == 201
    sent = body(answer)
    assert sent == {
        **EVENT,
        "at": "2009-04-24T11:30:00Z",
        "seq": None,
        "source": "api",
        "request_id": answer["X-Request-ID"],
        "ip": None,
    }
    assert listed(client) == []
    relay_all(acme)
    (item,) = listed(client)
    assert item.pop("seq") > 0
    assert sent.pop("seq") is None
    assert item == sent


def test_sending_it_again_changes_nothing(acme: TenantRef, client: Api) -> None:
    first = body(client.post("/activity", EVENT))
    for _ in range(2):
        again = client.post("/activity", EVENT | {"data": {"other": True}})
        assert (again.status_code, body(again)) == (200, first)
        relay_all(acme)
    assert len(listed(client)) == 1


def test_what_is_left_out_is_the_caller_and_now(client: Api, owner: User) -> None:  # noqa: F811
    before = datetime.now(UTC)
    sent = body(client.post("/activity", {"action": "report.published"}))
    assert sent["actor"] == {"type": "member", "id": str(owner.pk), "name": "Olivia"}
    assert (datetime.fromisoformat(sent["at"]) - before).total_seconds() < 10
    assert (sent["target"], sent["data"]) == (None, {})


def test_a_batch_answers_what_is_new(acme: TenantRef, client: Api) -> None:
    answer = client.post("/activity/batch", batch(100))
    assert (answer.status_code, body(answer)) == (200, {"accepted": 100, "duplicates": 0})
    relay_all(acme)
    assert body(client.post("/activity/batch", batch(120))) == {"accepted": 20, "duplicates": 100}
    relay_all(acme)
    assert len(listed(client, "source=api&limit=500")) == 120


def test_an_empty_batch_is_accepted(client: Api) -> None:
    assert body(client.post("/activity/batch", {"events": []})) == {"accepted": 0, "duplicates": 0}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"action": "Pushed"}, "action"),
        ({"action": "member.removed"}, "action"),
        ({"action": 5}, "action"),
        ({"at": "2009-04-24T13:30:00"}, "at"),
        ({"at": 1240572600}, "at"),
        ({"at": "0001-01-01T00:00:00+02:00"}, "at"),
        ({"id": "nope"}, "id"),
        ({"actor": {"type": "user"}}, "actor.id"),
        ({"actor": {"type": "user", "id": ""}}, "actor.id"),
        ({"target": {"type": "User", "id": "1"}}, "target.type"),
        ({"data": {"x": 2**63}}, "data.x"),
        ({"data": {"x": 2**70}}, "data.x"),
        ({"data": {"x": "a\0b"}}, "data.x"),
        ({"data": []}, "data"),
        ({"sequence": 1}, "sequence"),
    ],
    ids=str,
)
def test_what_cannot_be_kept_is_named(client: Api, change: dict[str, Any], field: str) -> None:
    answer = client.post("/activity", EVENT | change)
    assert answer.status_code == 422
    assert answer["Content-Type"] == "application/problem+json"
    assert list(body(answer)["errors"]) == [field]
    answer = client.post("/activity/batch", {"events": [EVENT, EVENT | change]})
    assert answer.status_code == 422
    assert list(body(answer)["errors"]) == [f"events.1.{field}"]


@pytest.mark.parametrize("where", ["query", "body"])
def test_the_good_ones_of_a_batch_are_kept_when_asked_for(acme: TenantRef, client: Api, where: str) -> None:
    events = [*batch(3)["events"], EVENT | {"action": "Nope", "data": []}, EVENT | {"id": "x"}, 5]
    envelope = {"events": events} | ({"on_error": "keep"} if where == "body" else {})
    answer = client.post(f"/activity/batch{'?on_error=keep' if where == 'query' else ''}", envelope)
    assert answer.status_code == 200
    found = body(answer)
    assert {name: found[name] for name in ("accepted", "duplicates", "refused")} == {
        "accepted": 3, "duplicates": 0, "refused": 3
    }  # fmt: skip
    assert set(found["errors"]) == {"events.3.data", "events.4.id", "events.5"}
    relay_all(acme)
    assert len(listed(client)) == 3
    # The control: the same batch without the wish.
    refused = client.post("/activity/batch", {"events": events})
    assert (refused.status_code, set(body(refused)["errors"])) == (422, set(found["errors"]))


def test_every_bad_event_is_named_and_nothing_is_kept(acme: TenantRef, client: Api) -> None:
    events = [EVENT, EVENT | {"at": "today"}, EVENT | {"action": "x"}, EVENT | {"unknown": 1}]
    answer = client.post("/activity/batch", {"events": events})
    assert answer.status_code == 422
    assert set(body(answer)["errors"]) == {"events.1.at", "events.2.action", "events.3.unknown"}
    relay_all(acme)
    assert listed(client) == []


def ndjson(client: Api, content: bytes, query: str = "") -> HttpResponse:
    headers = {"Authorization": f"Bearer {client.token}"}
    path = f"{client.root}/activity/batch{query}"
    sender = Client(raise_request_exception=False, HTTP_HOST=client.host)
    return sender.generic("POST", path, content, "application/x-ndjson", headers=headers)


def test_ndjson_is_an_event_a_line(acme: TenantRef, client: Api) -> None:
    lines = [orjson.dumps(event) for event in batch(5)["events"]]
    answer = ndjson(client, b"\n".join(lines) + b"\r\n\n")
    assert (answer.status_code, body(answer)) == (200, {"accepted": 5, "duplicates": 0})
    assert body(ndjson(client, b"\n".join(lines))) == {"accepted": 0, "duplicates": 5}
    relay_all(acme)
    assert len(listed(client)) == 5


@pytest.mark.parametrize("line", [b"{", b"nonsense", b"\xff", b'{"action": NaN}', b'"\\ud800"', b"[1,]"], ids=repr)
def test_a_line_that_is_not_json_is_refused_like_a_bad_event(acme: TenantRef, client: Api, line: bytes) -> None:
    good = [orjson.dumps(event) for event in batch(2)["events"]]
    content = b"\n".join([good[0], line, good[1]])
    refused = ndjson(client, content)
    assert (refused.status_code, list(body(refused)["errors"])) == (422, ["events.1"])
    kept = body(ndjson(client, content, "?on_error=keep"))
    assert (kept["accepted"], kept["refused"], list(kept["errors"])) == (2, 1, ["events.1"])
    relay_all(acme)
    assert len(listed(client)) == 2


def test_too_many_lines_and_too_many_bytes_are_refused(client: Api) -> None:
    answer = ndjson(client, b'{"action": "a.b"}\n' * 1001)
    assert (answer.status_code, list(body(answer)["errors"])) == (422, ["events"])
    assert ndjson(client, b" " * (5 * 1024 * 1024 + 1)).status_code == 413


@pytest.mark.parametrize(
    ("content", "status", "fields"),
    [
        (b"{", 400, None),
        (b"[]", 422, [""]),
        (b"{}", 422, ["events"]),
        (b'{"events": {}}', 422, ["events"]),
        (b'{"events": [], "more": 1}', 422, ["more"]),
        (b'{"events": [], "on_error": "drop"}', 422, ["on_error"]),
    ],
    ids=repr,
)
def test_a_body_that_holds_no_batch(client: Api, content: bytes, status: int, fields: list[str] | None) -> None:
    sender = Client(raise_request_exception=False, HTTP_HOST=client.host)
    headers = {"Authorization": f"Bearer {client.token}"}
    answer = sender.generic("POST", f"{client.root}/activity/batch", content, "application/json", headers=headers)
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    if fields and fields != [""]:
        assert list(body(answer)["errors"]) == fields


def test_what_to_do_with_bad_ones_is_one_of_two_words(client: Api) -> None:
    answer = client.post("/activity/batch?on_error=drop", batch(1))
    assert (answer.status_code, list(body(answer)["errors"])) == (422, ["on_error"])


def test_the_document_says_what_a_batch_is(acme: TenantRef) -> None:
    document = Client(HTTP_HOST="acme.localhost").get("/api/v1/openapi.json").json()
    content = document["paths"]["/api/v1/activity/batch"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "application/x-ndjson"}
    items = content["application/json"]["schema"]["properties"]["events"]["items"]
    assert items["$ref"].rpartition("/")[2] in document["components"]["schemas"]


def test_a_batch_has_a_limit(client: Api) -> None:
    answer = client.post("/activity/batch", batch(1001))
    assert answer.status_code == 422
    assert list(body(answer)["errors"]) == ["events"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("action=commit.pushed", [2, 1]),
        ("action=commit.", [2, 1]),
        ("action=release.", [3]),
        ("action=commit", []),
        ("action=commit.pushed&order=oldest", [1, 2]),
        ("actor=user:ada", [3, 1]),
        ("actor=user:ada&action=commit.", [1]),
        ("target=repository:b", [2]),
        ("q=second+push", [2]),
        ("q=ADA", [3, 1]),
        ("from=2024-02-01&to=2024-02-29", [2]),
        ("from=2024-02-10T12:00:00Z&to=2024-02-10T12:00:00%2B00:00", [2]),
        ("from=2024-02-10T12:00:00.001Z", [3]),
        ("from=2024-02-10T14:00:00+02:00", [3, 2]),
        ("to=2024-02-10", [2, 1]),
        ("from=0001-01-01&to=9999-12-31", [3, 2, 1]),
        ("source=api", [3, 2, 1]),
    ],
)
def test_filters(acme: TenantRef, client: Api, query: str, found: list[int]) -> None:
    events = [
        ("commit.pushed", "ada", "a", "First push", "2024-01-10T12:00:00Z"),
        ("commit.pushed", "bob", "b", "Second push", "2024-02-10T12:00:00Z"),
        ("release.made", "ada", "a", "Version 3", "2024-03-10T12:00:00Z"),
    ]
    client.post("/activity/batch", {"events": [
        {
            "action": action, "at": at, "actor": {"type": "user", "id": actor, "name": actor.title()},
            "target": {"type": "repository", "id": target}, "data": {"subject": subject, "number": number},
        }
        for number, (action, actor, target, subject, at) in enumerate(events, start=1)
    ]})  # fmt: skip
    relay_all(acme)
    items = listed(client, query)
    assert [item["data"]["number"] for item in items if item["source"] == "api" and "number" in item["data"]] == found


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=x",
        "order=up",
        "source=mars",
        "actor=ada",
        "from=yesterday",
        "to=2024-02-10T12:00:00",
        "from=0001-01-01T00:00:00%2B02:00",
        "cursor=x",
    ],
)
def test_questions_that_make_no_sense_are_refused(client: Api, query: str) -> None:
    answer = client.get(f"/activity?{query}")
    assert answer.status_code == 422
    assert list(body(answer)["errors"]) == [query.partition("=")[0]]


def test_pages_by_cursor_go_through_all(acme: TenantRef, client: Api) -> None:
    client.post("/activity/batch", batch(30))
    relay_all(acme)
    seen, cursor = [], ""
    while cursor is not None:
        page = body(client.get(f"/activity?source=api&limit=7&cursor={cursor}"))
        seen += [item["seq"] for item in page["items"]]
        cursor = page["next"]
    assert len(seen) == 30
    assert seen == sorted(seen, reverse=True)


def test_rights(api: ApiOf, owner: User, viewer: User) -> None:  # noqa: F811
    assert api(viewer).get("/activity").status_code == 200
    assert api(viewer).post("/activity", EVENT).status_code == 403
    assert api(viewer).post("/activity/batch", batch(1)).status_code == 403
    assert api(owner, scopes=["members.read"]).get("/activity").status_code == 403
    assert Api("acme.localhost").get("/activity").status_code == 401


def test_another_tenant_sees_nothing_of_it(
    acme: TenantRef, globex: TenantRef, client: Api, api: ApiOf, stranger: User  # noqa: F811
) -> None:  # fmt: skip
    client.post("/activity", EVENT)
    theirs = api(stranger, globex)
    assert theirs.post("/activity", EVENT | {"data": {"mine": 1}}).status_code == 201
    for ref in (acme, globex):
        relay_all(ref)
    assert [item["data"] for item in listed(theirs)] == [{"mine": 1}]
    assert [item["data"] for item in listed(client)] == [EVENT["data"]]


def test_the_stream_is_served_elsewhere(client: Api) -> None:
    answer = client.get("/activity/stream")
    assert answer.status_code == 421
    assert body(answer)["stream_url"].endswith("/api/v1/activity/stream")

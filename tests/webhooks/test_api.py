"""`/api/v1/webhooks`: made, changed, tried, looked at, by owners and admins alone."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import User
from activity.models import OutboxEvent
from activity.webhooks import services
from activity.webhooks.models import Webhook
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import (  # noqa: F401  fixtures
    Api,
    ApiOf,
    admin,
    api,
    fresh_limits,
    member,
    owner,
    quick_passwords,
    stranger,
    viewer,
)
from tests.webhooks.conftest import deliver, record
from tests.webhooks.receiver import Receiver, answer

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def client(api: ApiOf, owner: User) -> Api:  # noqa: F811
    return api(owner)


def made(client: Api, receiver: Receiver, **facts: Any) -> dict[str, Any]:
    found = client.post("/webhooks", {"name": "SIEM", "url": receiver.url, **facts})
    assert found.status_code == 201, found.content
    return found.json()


def recorded(acme: TenantRef) -> list[dict[str, Any]]:
    with use_tenant(acme):
        found = OutboxEvent.objects.filter(document__action__startswith="webhook.").order_by("id")
        return list(found.values_list("document", flat=True))


def test_from_making_to_removing(acme: TenantRef, client: Api, receiver: Receiver) -> None:
    webhook = made(client, receiver, actions=["member.", "report."])
    secret = webhook.pop("secret")
    assert secret.startswith("whsec_")
    assert webhook["actions"] == ["member.", "report."]
    path = f"/webhooks/{webhook['id']}"
    for answered in (client.get(path).json(), client.get("/webhooks").json()["items"][0]):
        assert answered == webhook
    changed = client.patch(path, {"name": "Other", "is_active": False})
    assert changed.json() == webhook | {"name": "Other", "is_active": False}
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
    events = recorded(acme)
    assert [event["action"] for event in events] == ["webhook.created", "webhook.updated", "webhook.removed"]
    assert events[1]["data"]["changes"] == {"name": ["SIEM", "Other"], "is_active": [True, False]}
    assert events[0]["data"]["host"] == "127.0.0.1"
    # Neither the secret nor the rest of the address, which may hold one, is in the log.
    assert secret not in str(events)
    assert "from=tenantry" not in str(events)


def test_deliveries_are_listed_and_sent_again(acme: TenantRef, client: Api, receiver: Receiver) -> None:
    path = f"/webhooks/{made(client, receiver, actions=['report.'])['id']}"
    receiver.script = [answer(500, b"not now")]
    with use_tenant(acme):
        record(acme, range(2))
        deliver(acme)
    (waiting,) = client.get(f"{path}/deliveries").json()["items"]
    assert (waiting["state"], waiting["events"], waiting["attempts"][0]["status"]) == ("waiting", 2, 500)
    assert (waiting["attempts"][0]["excerpt"], waiting["attempts"][0]["error"]) == ("not now", "It answered 500.")
    assert waiting["next_at"] > waiting["created_at"]
    again = client.post(f"{path}/deliveries/{waiting['id']}/resend")
    assert again.status_code == 202
    with use_tenant(acme):
        deliver(acme)
    (delivered,) = client.get(f"{path}/deliveries?state=delivered").json()["items"]
    assert [attempt["status"] for attempt in delivered["attempts"]] == [200, 500]
    assert delivered["next_at"] is None
    assert client.get(f"{path}/deliveries?state=failed").json()["items"] == []
    assert client.get(f"{path}/deliveries?state=odd").status_code == 422


def test_a_test_message(acme: TenantRef, client: Api, receiver: Receiver) -> None:
    path = f"/webhooks/{made(client, receiver)['id']}"
    test = client.post(f"{path}/test")
    assert (test.status_code, test.json()["kind"], test.json()["state"]) == (202, "test", "waiting")
    with use_tenant(acme):
        deliver(acme)
    assert next(request.id for request in receiver.requests) == test.json()["id"]


def test_another_secret(acme: TenantRef, client: Api, receiver: Receiver) -> None:
    webhook = made(client, receiver)
    other = client.post(f"/webhooks/{webhook['id']}/secret").json()["secret"]
    assert other != webhook["secret"]
    assert recorded(acme)[-1]["data"]["changes"] == {"secret": ["former", "new"]}
    assert other not in str(recorded(acme))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"url": "http://siem.example.com/"}, "url"),
        ({"url": "https://localhost/"}, "url"),
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "https://nothing.invalid/"}, "url"),
        ({"url": ""}, "url"),
        ({"name": ""}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"actions": ["Member"]}, "actions"),
        ({"actions": ["member.."]}, "actions"),
        ({"actions": ["*"]}, "actions"),
        ({"more": 1}, "more"),
    ],
    ids=str,
)
def test_what_cannot_be_accepted_is_named(
    acme: TenantRef, client: Api, receiver: Receiver, change: dict[str, Any], field: str
) -> None:
    refused = client.post("/webhooks", {"name": "SIEM", "url": receiver.url} | change)
    assert (refused.status_code, list(refused.json()["errors"])) == (422, [field])
    webhook = made(client, receiver)
    refused = client.patch(f"/webhooks/{webhook['id']}", change)
    assert (refused.status_code, list(refused.json()["errors"])) == (422, [field])
    del webhook["secret"]
    assert client.get(f"/webhooks/{webhook['id']}").json() == webhook


def test_there_is_a_limit(client: Api, receiver: Receiver) -> None:
    for _ in range(services.MAX_WEBHOOKS):
        made(client, receiver)
    assert client.post("/webhooks", {"name": "SIEM", "url": receiver.url}).status_code == 409


OPERATIONS = [
    ("get", "/webhooks"),
    ("post", "/webhooks"),
    *(
        (method, f"/webhooks/{NOBODY}{rest}")
        for method, rest in [
            ("get", ""), ("patch", ""), ("delete", ""), ("post", "/secret"), ("post", "/test"), ("get", "/deliveries"),
            ("post", f"/deliveries/{NOBODY}/resend"),
        ]
    ),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=str)
def test_rights(api: ApiOf, admin: User, member: User, viewer: User, method: str, path: str) -> None:  # noqa: F811
    def status(asking: Api) -> int:
        body: Any = {"name": "x", "url": "x"} if method in {"post", "patch"} else None
        return asking.request(method, path, body).status_code

    assert status(api(admin)) in {200, 404, 422}
    assert [status(api(person)) for person in (member, viewer)] == [403, 403]
    assert status(api(admin, scopes=["members.read"])) == 403
    assert status(Api("acme.localhost")) == 401


def test_another_tenant_sees_nothing_of_it(
    acme: TenantRef, globex: TenantRef, client: Api, api: ApiOf, stranger: User, receiver: Receiver  # noqa: F811
) -> None:  # fmt: skip
    path = f"/webhooks/{made(client, receiver)['id']}"
    theirs = api(stranger, globex)
    assert theirs.get("/webhooks").json()["items"] == []
    for method in ("get", "delete"):
        assert theirs.request(method, path).status_code == 404
    assert theirs.post(f"{path}/test").status_code == 404
    with use_tenant(acme):
        assert Webhook.objects.count() == 1

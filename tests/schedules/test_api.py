"""`/api/v1/schedules`: made, changed, paused, run and deleted, by those who may start such a job."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from accounts.models import User
from activity.jobs.models import Job
from activity.schedules import services
from activity.schedules.models import Schedule
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import Api, ApiOf, fresh_limits  # noqa: F401  a fixture
from tests.jobs.kinds import Kinds
from tests.schedules.conftest import DAILY, dispatched, events_of, make_due, row

NOBODY = "00000000-0000-7000-8000-000000000000"
WEEKLY = {
    "name": "Weekly export",
    "kind": "members.export",
    "params": {"format": "xlsx"},
    "every": "week",
    "weekday": "monday",
    "at": "07:00",
    "time_zone": "Europe/Berlin",
}


@pytest.fixture
def client(api: ApiOf, owner: User) -> Api:
    return api(owner)


def made(client: Api, **facts: Any) -> dict[str, Any]:
    found = client.post("/schedules", {**WEEKLY, **facts})
    assert found.status_code == 201, found.content
    answer: dict[str, Any] = found.json()
    return answer


def test_from_making_to_deleting(acme: TenantRef, client: Api, owner: User) -> None:
    schedule = made(client)
    told = {name: schedule[name] for name in WEEKLY}
    assert told == WEEKLY | {"params": {"format": "xlsx", "q": "", "role": ""}}
    assert schedule["actor"] == {"type": "member", "id": str(owner.pk), "name": "Olivia"}
    assert (schedule["is_paused"], schedule["paused_reason"], schedule["last_job"]) == (False, None, None)
    next_at = datetime.fromisoformat(schedule["next_at"]).astimezone(ZoneInfo("Europe/Berlin"))
    assert f"{next_at:%A %H:%M}" == "Monday 07:00"
    path = f"/schedules/{schedule['id']}"
    for answered in (client.get(path).json(), client.get("/schedules").json()["items"][0]):
        assert answered == schedule
    changed = client.patch(path, {"name": "Daily export", "every": "day"}).json()
    assert (changed["every"], changed["at"], changed["weekday"]) == ("day", "07:00", None)
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404
    events = events_of(acme)
    assert [event["action"] for event in events] == ["schedule.created", "schedule.changed", "schedule.deleted"]
    assert events[0]["data"]["often"] == "every Monday at 07:00"
    assert events[1]["data"]["changes"] == {
        "name": ["Weekly export", "Daily export"],
        "every": ["week", "day"],
        "weekday": ["monday", None],
    }
    assert {(event["actor"]["name"], event["source"]) for event in events} == {("Olivia", "api")}


def test_it_is_paused_and_goes_on(acme: TenantRef, client: Api) -> None:
    path = f"/schedules/{made(client)['id']}"
    paused = client.patch(path, {"is_paused": True}).json()
    assert (paused["is_paused"], paused["next_at"], paused["paused_reason"]) == (True, None, None)
    with use_tenant(acme):
        assert dispatched(acme) == 0
    assert row(acme) is None  # nothing to look after
    # A change of when leaves it paused.
    assert client.patch(path, {"at": "08:00"}).json()["next_at"] is None
    assert client.patch(path, {"is_paused": False}).json()["next_at"] is not None
    assert row(acme) is not None
    assert [event["action"] for event in events_of(acme)][1:] == [
        "schedule.paused", "schedule.changed", "schedule.resumed",
    ]  # fmt: skip


def test_it_is_run_now(acme: TenantRef, client: Api, api: ApiOf, admin: User) -> None:
    schedule = made(client)
    path = f"/schedules/{schedule['id']}"
    job = api(admin).post(f"{path}/run")
    assert job.status_code == 202
    assert job.json()["schedule"] == schedule["id"]
    assert client.post(f"{path}/run").json()["id"] == job.json()["id"]  # not a second one beside it
    now = client.get(path).json()
    assert now["last_job"] == {"id": job.json()["id"], "state": "queued"}
    assert now["next_at"] == schedule["next_at"]
    with use_tenant(acme):
        assert Job.objects.get().actor["name"] == "Adam"  # in whose name it runs


def test_a_later_time_is_the_next_one(acme: TenantRef, client: Api) -> None:
    path = f"/schedules/{made(client)['id']}"
    follows = client.patch(path, {"time_zone": None}).json()
    assert (follows["time_zone"], follows["planned_in"]) == (None, "UTC")
    assert datetime.fromisoformat(follows["next_at"]).hour == 7
    hourly = client.patch(path, {"every": "hour", "minute": 30}).json()
    assert (hourly["minute"], hourly["at"], hourly["weekday"]) == (30, None, None)
    assert datetime.fromisoformat(hourly["next_at"]).minute == 30


@pytest.mark.parametrize(
    ("facts", "fields"),
    [
        ({"name": " "}, {"name"}),
        ({"name": "x\0"}, {"name"}),
        ({"kind": "no.such"}, {"kind"}),
        ({"kind": "members.import"}, {"kind"}),
        ({"params": {"format": "pdf"}}, {"params.format"}),
        ({"params": {"odd": 1}}, {"params.odd"}),
        ({"params": {"q": "a\0"}}, {"params.q"}),
        ({"every": "year"}, {"every"}),
        ({"every": "day"}, {"weekday"}),
        ({"at": None}, {"at"}),
        ({"at": "25:00"}, {"at"}),
        ({"minute": 5}, {"minute"}),
        ({"weekday": "someday"}, {"weekday"}),
        ({"every": "month", "weekday": None, "day": 32}, {"day"}),
        ({"time_zone": "Europe/Nowhere"}, {"time_zone"}),
        ({"time_zone": "../../etc/passwd"}, {"time_zone"}),
        ({"time_zone": "localtime"}, {"time_zone"}),
        ({"odd": 1}, {"odd"}),
        ({"name": "", "kind": "no.such", "at": "x", "time_zone": "x"}, {"name", "kind", "at", "time_zone"}),
        ({"name": "", "params": {"format": "x"}, "at": "x"}, {"name", "params.format", "at"}),
    ],
)
def test_what_cannot_be_accepted_is_told_by_field(client: Api, facts: dict[str, Any], fields: set[str]) -> None:
    answer = client.post("/schedules", {**WEEKLY, **facts})
    assert answer.status_code == 422
    assert answer["Content-Type"] == "application/problem+json"
    assert set(answer.json()["errors"]) == fields
    assert client.get("/schedules").json()["items"] == []


@pytest.mark.parametrize(
    ("facts", "fields"),
    [
        ({"name": ""}, {"name"}),
        ({"params": {"format": "pdf"}}, {"params.format"}),
        ({"every": "month"}, {"day"}),
        ({"day": 3}, {"day"}),
        ({"at": "7"}, {"at"}),
        ({"at": None}, {"at"}),
        ({"time_zone": "Mars/Olympus"}, {"time_zone"}),
        ({"kind": "activity.export"}, {"kind"}),
        ({"actor": {}}, {"actor"}),
    ],
)
def test_a_change_that_cannot_be_accepted_changes_nothing(client: Api, facts: dict[str, Any], fields: set[str]) -> None:
    schedule = made(client)
    answer = client.patch(f"/schedules/{schedule['id']}", {"name": "Other", **facts})
    assert (answer.status_code, set(answer.json()["errors"])) == (422, fields)
    assert client.get(f"/schedules/{schedule['id']}").json() == schedule


def test_who_may_what(api: ApiOf, client: Api, owner: User, member: User, viewer: User, stranger: User) -> None:
    schedule = made(client)
    path = f"/schedules/{schedule['id']}"
    for reader in (api(member), api(viewer)):
        assert reader.get(path).status_code == reader.get("/schedules").status_code == 200
        assert reader.post("/schedules", WEEKLY).status_code == 403
        assert reader.patch(path, {"name": "Mine"}).status_code == 403
        assert reader.delete(path).status_code == reader.post(f"{path}/run").status_code == 403
    # The kind's own verb is asked for too.
    narrow = api(owner, scopes=["jobs.read", "jobs.write"])
    assert narrow.post("/schedules", WEEKLY).status_code == 403
    assert narrow.patch(path, {"name": "Mine"}).status_code == narrow.post(f"{path}/run").status_code == 403
    assert narrow.delete(path).status_code == 403
    assert api(owner, scopes=["jobs.write", "members.read"]).patch(path, {"name": "Mine"}).status_code == 200
    archive = {**WEEKLY, "kind": "tenant.archive", "params": {}}
    assert api(owner, scopes=["write", "read"]).post("/schedules", archive).status_code == 403
    assert api(owner).post("/schedules", archive).status_code == 201


def test_another_tenant_s_is_nothing_here(api: ApiOf, client: Api, stranger: User, globex: TenantRef) -> None:
    schedule = made(client)
    other = api(stranger, globex)
    assert other.get("/schedules").json()["items"] == []
    for answer in (
        other.get(f"/schedules/{schedule['id']}"),
        other.patch(f"/schedules/{schedule['id']}", {"name": "Mine"}),
        other.delete(f"/schedules/{schedule['id']}"),
        other.post(f"/schedules/{schedule['id']}/run"),
    ):
        assert answer.status_code == 404


def test_the_list_goes_on_behind_its_cursor(client: Api) -> None:
    names = [made(client, name=f"No. {number}")["name"] for number in range(5)]
    first = client.get("/schedules?limit=3").json()
    second = client.get(f"/schedules?limit=3&cursor={first['next']}").json()
    assert [item["name"] for item in [*first["items"], *second["items"]]] == names
    assert second["next"] is None
    assert client.get("/schedules?limit=0").status_code == client.get("/schedules?cursor=x").status_code == 422


def test_there_are_so_many_and_no_more(client: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MAX_SCHEDULES", 2)
    made(client)
    made(client)
    refused = client.post("/schedules", WEEKLY)
    assert refused.status_code == 409
    assert "2 schedules" in refused.json()["detail"]


def test_the_same_request_makes_one(client: Api) -> None:
    first = client.post("/schedules", WEEKLY, Idempotency_Key="one").json()
    assert client.post("/schedules", WEEKLY, Idempotency_Key="one").json() == first
    assert len(client.get("/schedules").json()["items"]) == 1


def test_a_kind_that_is_no_longer_there(acme: TenantRef, client: Api, kinds: Kinds) -> None:
    kind = kinds.add(lambda run, params: None)
    path = f"/schedules/{made(client, kind=kind, params={})['id']}"
    kinds.remove(kind)
    assert client.post(f"{path}/run").status_code == 422
    with use_tenant(acme):
        make_due()
        dispatched(acme)
    paused = client.get(path).json()
    assert (paused["is_paused"], "no longer such a kind" in paused["paused_reason"]) == (True, True)
    refused = client.patch(path, {"is_paused": False})
    assert (refused.status_code, "no longer such a kind" in refused.json()["detail"]) == (409, True)
    assert client.patch(path, {"name": "Old"}).status_code == 200
    assert client.delete(path).status_code == 204


def test_nobody_takes_a_schedule_s_key(client: Api) -> None:
    schedule = made(client)
    answer = client.post("/jobs", {"kind": "members.export", "unique": f"schedule:{schedule['id']}"})
    assert (answer.status_code, list(answer.json()["errors"])) == (422, ["unique"])
    assert client.post("/jobs", {"kind": "members.export", "unique": "nightly"}).json()["schedule"] is None


def test_ids_that_are_nobody_s(client: Api) -> None:
    assert client.get(f"/schedules/{NOBODY}").status_code == 404
    assert client.post(f"/schedules/{NOBODY}/run").status_code == 404


def test_the_tenant_s_zone_is_followed_when_it_changes(acme: TenantRef, client: Api) -> None:
    follows = made(client, **DAILY, weekday=None, time_zone=None)
    own = made(client, **DAILY, weekday=None, time_zone="Europe/Berlin")
    answer = client.patch("/tenant", {"time_zone": "Asia/Tokyo"})
    assert (answer.status_code, answer.json()["time_zone"]) == (200, "Asia/Tokyo")
    assert client.get("/tenant").json()["time_zone"] == "Asia/Tokyo"
    now = client.get(f"/schedules/{follows['id']}").json()
    assert now["planned_in"] == "Asia/Tokyo"
    assert datetime.fromisoformat(now["next_at"]).hour == 22
    assert client.get(f"/schedules/{own['id']}").json() == own
    with use_tenant(acme):
        assert Schedule.objects.filter(planned_in="Asia/Tokyo").count() == 1
    (event,) = events_of(acme, "tenant.updated")
    assert event["data"]["changes"] == {"time_zone": ["UTC", "Asia/Tokyo"]}
    bad = client.patch("/tenant", {"time_zone": "Asia/Nowhere"})
    assert (bad.status_code, list(bad.json()["errors"])) == (422, ["time_zone"])

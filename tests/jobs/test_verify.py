"""The log is verified by the API at once, by a job when it is long, and on a page; a proof file is a job's result."""

from __future__ import annotations

import json

import pytest

from accounts.models import User
from activity import mongo, verify
from activity.chain.keys import PublicKeys
from activity.chain.offline import verify_lines
from activity.jobs.models import Job
from activity.models import LogHead
from activity.relay import relay
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf
from tests.accounts.pages.conftest import SignedIn
from tests.jobs.conftest import body_of, run

pytestmark = pytest.mark.usefixtures("empty_logs")


def relayed(ref: TenantRef) -> int:
    with use_tenant(ref):
        relay(ref)
        return LogHead.objects.get().appended


def edit(ref: TenantRef, seq: int) -> str:
    document = mongo.events().find_one_and_update({"tenant": ref.id, "seq": seq}, {"$set": {"source": "ui2"}})
    assert document is not None
    return str(document["id"])


def test_the_api_verifies_at_once(api: ApiOf, viewer: User, acme: TenantRef) -> None:
    asking = api(viewer)
    count = relayed(acme)
    answer = asking.get("/activity/verify")
    assert (answer.status_code, answer.json()) == (200, {"valid": True, "checked": count, "first_bad": None})
    event_id = edit(acme, 1)
    bad = {"seq": 1, "id": event_id, "reason": "edited"}
    assert asking.get("/activity/verify").json() == {"valid": False, "checked": 0, "first_bad": bad}


def test_an_empty_log_is_valid(api: ApiOf, viewer: User) -> None:
    assert api(viewer).get("/activity/verify").json() == {"valid": True, "checked": 0, "first_bad": None}


def test_who_may_not_read_the_log_may_not_verify_it(api: ApiOf, owner: User) -> None:
    asking = api(owner, scopes=["members.read"])
    assert {asking.get(f"/activity/verify{rest}").status_code for rest in ("", "/keys")} == {403}


def test_a_long_log_is_verified_by_one_job(
    api: ApiOf, owner: User, viewer: User, acme: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, reading = api(owner), api(viewer)
    count = relayed(acme)
    monkeypatch.setattr(verify, "AT_ONCE", 1)
    assert reading.get("/activity/verify").status_code == 403  # it would start a job
    answer = asking.get("/activity/verify")
    assert (answer.status_code, answer.json()["kind"]) == (202, "activity.verify")
    again = reading.get("/activity/verify")
    assert (again.status_code, again.json()["id"]) == (202, answer.json()["id"])
    job = run(acme, answer.json()["id"])
    assert (job.state, job.counts, job.done) == ("succeeded", {"checked": count, "bad": 0}, count)
    result = asking.get(f"/jobs/{job.pk}/result")
    assert result["Content-Type"] == "application/json"
    assert json.loads(body_of(result)) == {"valid": True, "checked": count, "first_bad": None}
    assert asking.get("/activity/verify").json()["id"] != str(job.pk)


def test_a_proof_file_is_verified_by_the_keys_that_the_api_gives(api: ApiOf, owner: User, acme: TenantRef) -> None:
    asking = api(owner)
    count = relayed(acme)
    job = run(acme, asking.post("/jobs", {"kind": "activity.proof"}).json()["id"])
    assert (job.state, job.counts) == ("succeeded", {"events": count})
    lines = body_of(asking.get(f"/jobs/{job.pk}/result")).splitlines()
    given = asking.get("/activity/verify/keys").json()
    assert given["algorithm"] == "Ed25519"
    keys = PublicKeys.parse(f"{key['id']}:{key['public_key']}" for key in given["keys"])
    verdict = verify_lines(lines, keys)
    assert (verdict.first_bad, verdict.checked, verdict.tenant) == (None, count, acme.id)


def test_the_page_shows_the_verification_and_its_outcome(signed_in: SignedIn, owner: User, acme: TenantRef) -> None:
    client = signed_in(owner)
    assert "verified yet" in client.get("/activity/verify").content.decode()
    count = relayed(acme)
    assert client.post("/activity/verify/start")["Location"] == "/activity/verify"
    client.post("/activity/verify/start")
    with use_tenant(acme):
        job = Job.objects.get(kind="activity.verify")
    waiting = client.get("/activity/verify", headers={"HX-Request": "true"}).content.decode()
    assert 'hx-trigger="every 1s"' in waiting
    assert "<html" not in waiting
    run(acme, job.pk)
    page = client.get("/activity/verify").content.decode()
    assert "Every event is as it was signed." in page
    assert "hx-trigger" not in page.partition('id="verification"')[2].partition("</section>")[0]
    edit(acme, count)
    client.post("/activity/verify/start")
    with use_tenant(acme):
        job = Job.objects.filter(kind="activity.verify").latest("created_at")
    run(acme, job.pk)
    page = client.get("/activity/verify").content.decode()
    assert f"has the number {count}: it was edited" in page


def test_the_page_is_for_everybody_and_its_forms_are_not(signed_in: SignedIn, viewer: User, acme: TenantRef) -> None:
    client = signed_in(viewer)
    page = client.get("/activity/verify")
    assert page.status_code == 200
    assert "An owner or an admin can start it." in page.content.decode()
    paths = ("/activity/verify/start", "/activity/verify/file", "/activity/retention")
    assert {client.post(path).status_code for path in paths} == {403}
    assert "Verify" in client.get("/activity").content.decode()


def test_retention_is_set_on_the_page(signed_in: SignedIn, owner: User, acme: TenantRef) -> None:
    client = signed_in(owner)
    assert "The plan free keeps them for 90 days at most." in client.get("/activity/verify").content.decode()
    for given in ("0", "91", "x", "1" * 12):
        client.post("/activity/retention", {"days": given})
        assert "Give a" in client.get("/activity/verify").content.decode(), given
    client.post("/activity/retention", {"days": "30"})
    assert "30 days." in client.get("/activity/verify").content.decode()
    client.post("/activity/retention", {"days": ""})
    assert "90 days." in client.get("/activity/verify").content.decode()

"""`POST /activity/erasures` and the page: who may, whom, and what operators see of it."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from accounts.models import User
from accounts.services.members import member_remove
from activity.jobs.models import Job
from tenants import subject_keys
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf
from tests.accounts.pages.conftest import SignedIn


def test_those_who_may_start_it(api: ApiOf, admin: User) -> None:
    answer = api(admin).post("/activity/erasures", {"subject": "user:7"})
    assert answer.status_code == 202
    assert (answer.json()["kind"], answer.json()["state"]) == ("activity.erase", "queued")
    again = api(admin).post("/activity/erasures", {"subject": "user:7"})
    assert again.json()["id"] == answer.json()["id"]


@pytest.mark.parametrize("scopes", [["activity.write"], ["members.write"], ["read"]])
def test_a_token_for_something_else_may_not(api: ApiOf, owner: User, scopes: list[str]) -> None:
    assert api(owner, scopes=scopes).post("/activity/erasures", {"subject": "user:7"}).status_code == 403


def test_a_member_may_not(api: ApiOf, member: User) -> None:
    assert api(member).post("/activity/erasures", {"subject": "user:7"}).status_code == 403


def test_whoever_is_still_here_is_refused(api: ApiOf, owner: User, member: User) -> None:
    answer = api(owner).post("/activity/erasures", {"subject": f"member:{member.pk}"})
    assert answer.status_code == 409
    assert "Remove them first" in answer.json()["detail"]
    assert api(owner).post("/activity/erasures", {"subject": f"address:{member.email}"}).status_code == 409


def test_nothing_else_starts_an_erasure(api: ApiOf, owner: User, acme: TenantRef) -> None:
    """Its address asks whether the person is still here: digests of those who are may be had from a proof file."""
    with use_tenant(acme):
        digest = subject_keys.digest(acme, f"member:{owner.pk}")
    params = {"subjects": [digest]}
    started = api(owner).post("/jobs", {"kind": "activity.erase", "params": params})
    assert (started.status_code, list(started.json()["errors"])) == (422, ["kind"])
    assert "POST /activity/erasures" in started.json()["detail"]
    schedule = {"name": "x", "kind": "activity.erase", "params": params, "every": "day", "at": "03:00"}
    planned = api(owner).post("/schedules", schedule)
    assert (planned.status_code, list(planned.json()["errors"])) == (422, ["kind"])
    with use_tenant(acme):
        assert not Job.objects.exists()


def test_an_id_or_an_address_may_be_written_otherwise(api: ApiOf, owner: User) -> None:
    asking = api(owner)
    for one, other in (
        ("address:Ada@Example.com", "address:ada@example.com"),
        ("member:0190A1B2-0000-7000-8000-000000000001", "member:0190a1b2-0000-7000-8000-000000000001"),
    ):
        answers = [asking.post("/activity/erasures", {"subject": subject}).json() for subject in (one, other)]
        assert answers[0]["id"] == answers[1]["id"]


@pytest.mark.parametrize("subject", ["", "nobody", "User:7", "member:not-an-id", 7, None])
def test_what_names_nobody_is_refused_by_its_field(api: ApiOf, owner: User, subject: object) -> None:
    answer = api(owner).post("/activity/erasures", {"subject": subject})
    assert (answer.status_code, list(answer.json()["errors"])) == (422, ["subject"])


def test_the_page_erases_a_removed_member(signed_in: SignedIn, owner: User, member: User, acme: TenantRef) -> None:
    person = member.pk
    with use_tenant(acme):
        member_remove(by=owner, member=member)
    browser = signed_in(owner)
    assert f'value="member:{person}"' in browser.get(f"/settings?erase=member:{person}").content.decode()
    answer = browser.post("/settings/erase", {"subject": f" member:{person} "})
    assert answer.status_code == 302
    with use_tenant(acme):
        assert Job.objects.get(kind="activity.erase").pk.hex in answer["Location"].replace("-", "")


def test_the_page_says_why_not(signed_in: SignedIn, owner: User, member: User) -> None:
    answer = signed_in(owner).post("/settings/erase", {"subject": member.email})
    assert answer.status_code == 422
    assert "Remove them first" in answer.content.decode()


def test_the_page_offers_it_to_those_who_may(signed_in: SignedIn, owner: User, member: User) -> None:
    assert "Erase a person" in signed_in(owner).get("/settings").content.decode()
    assert "Erase a person" not in signed_in(member).get("/settings").content.decode()
    assert signed_in(member).post("/settings/erase", {"subject": "user:7"}).status_code == 403


def test_operators_see_the_ledger_and_no_name(operator: User, acme: TenantRef) -> None:
    from tenants import subject_keys
    from tenants.context import use_control

    digest = subject_keys.digest(acme, "user:ledger@example.com")
    subject_keys.destroy(acme, [digest], by="member:1")
    try:
        browser = Client(HTTP_HOST="localhost", raise_request_exception=False)
        with use_control():
            browser.force_login(operator)
        page = browser.get("/admin/tenants/erasure/").content.decode()
        assert re.search(rf"acme.*{digest}", page, re.S)
        assert "ledger@example.com" not in page
        assert browser.get("/admin/tenants/erasure/add/").status_code == 403
    finally:
        subject_keys.forget_owner(acme)

"""A plan's limit of members: by whatever way they come, and however many at once."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client, TestCase

from accounts.imports import job as imports
from accounts.models import Invitation, User
from accounts.services import room
from accounts.services.invitations import invitation_accept, invitation_send
from accounts.services.members import member_create, member_remove
from activity.jobs.models import Job
from activity.jobs.testing import job_dies
from tenants.context import use_tenant
from tenants.db.pools import pool_of
from tenants.errors import PlanLimitReached
from tenants.refs import TenantRef
from tenants.servers import server_of
from tests.accounts.conftest import PASSWORD, Api, ApiOf
from tests.accounts.pages.conftest import SignedIn
from tests.accounts.test_request_cost import statements
from tests.activity.conftest import LastingTenant
from tests.at_once import at_once
from tests.jobs.conftest import imported, members, problems, run, send


@pytest.fixture
def asking(api: ApiOf, owner: User) -> Api:
    return api(owner)


def test_the_last_place_is_taken_and_no_more(tenant: TenantRef, owner: User, limit: Any) -> None:
    limit(members=3)
    for name in ("ann", "bob"):
        member_create(by=owner, email=f"{name}@example.com")
    with pytest.raises(PlanLimitReached) as refused:
        member_create(by=owner, email="cy@example.com")
    assert (refused.value.limit, refused.value.used, refused.value.plan) == (3, 3, "free")
    member_remove(by=owner, member=User.objects.get(email="ann@example.com"))
    member_create(by=owner, email="cy@example.com")
    assert User.objects.count() == 3


def test_the_api_says_what_is_used_of_how_much_and_what_to_do(asking: Api, limit: Any) -> None:
    limit(members=1)
    answer = asking.post("/members", {"email": "ann@example.com"})
    problem = answer.json()
    assert (answer.status_code, answer["Content-Type"]) == (403, "application/problem+json")
    assert (problem["type"], problem["meter"], problem["plan"]) == ("plan-limit", "members", "free")
    assert (problem["limit"], problem["used"]) == (1, 1)
    assert problem["detail"] == (
        "The plan free has room for 1 member, and 1 is here. Remove somebody, or ask for another plan."
    )
    assert "Retry-After" not in answer


def test_another_plan_has_no_limit(asking: Api, settings: Any) -> None:
    settings.PLAN_LIMITS = {"members": {"team": 1}}
    assert asking.post("/members", {"email": "ann@example.com"}).status_code == 201


def test_without_a_limit_nothing_more_is_asked(asking: Api, acme: TenantRef, limit: Any) -> None:
    assert asking.get("/me").status_code == 200  # the first use of a token is noted
    texts = []
    for number, limits in enumerate(({}, {"storage_bytes": 1}, {"members": 100})):
        limit(**limits)
        with statements(acme) as seen:
            assert asking.post("/members", {"email": f"member{number}@example.com"}).status_code == 201
        texts.append([query["sql"] for query in seen])
    none, other, limited = texts
    assert len(none) == len(other)
    assert not any("advisory" in text or "COUNT(*)" in text for text in none)
    assert len(limited) == len(none) + 2  # the lock, and the count


def test_an_invitation_has_room_that_is_kept_for_it(tenant: TenantRef, owner: User, limit: Any) -> None:
    limit(members=3)
    invitation_send(by=owner, email="ann@example.com")
    invitation_send(by=owner, email="bob@example.com")
    with pytest.raises(PlanLimitReached) as refused:
        invitation_send(by=owner, email="cy@example.com")
    assert "1 is here and 2 are invited" in refused.value.message
    invitation_send(by=owner, email="ANN@example.com")  # again, in the place of the former one
    Invitation.objects.filter(email="bob@example.com", revoked_at=None).update(expires_at=Now())
    invitation_send(by=owner, email="cy@example.com")


def test_an_invitation_that_cannot_be_accepted_takes_no_room(tenant: TenantRef, owner: User, limit: Any) -> None:
    limit(members=3)
    invitation_send(by=owner, email="ann@example.com")
    member_create(by=owner, email="Ann@example.com")
    invitation_send(by=owner, email="bob@example.com")  # two are here, and one more may come


def invited(owner: User, email: str, mailoutbox: list[Any]) -> str:
    with TestCase.captureOnCommitCallbacks(execute=True):
        invitation_send(by=owner, email=email)
    return str(mailoutbox[-1].body.split("/invitations/")[1].split()[0])


def test_an_invitation_is_not_accepted_beyond_the_limit_and_can_be_later(
    tenant: TenantRef, owner: User, limit: Any, mailoutbox: list[Any]
) -> None:
    secret = invited(owner, "ann@example.com", mailoutbox)
    limit(members=1)
    with pytest.raises(PlanLimitReached):
        invitation_accept(secret=secret, name="Ann", password=PASSWORD)
    limit(members=2)
    assert invitation_accept(secret=secret, name="Ann", password=PASSWORD).email == "ann@example.com"


def test_pages_say_the_sentence(
    acme: TenantRef, owner: User, limit: Any, signed_in: SignedIn, anonymous: Client, mailoutbox: list[Any]
) -> None:
    with use_tenant(acme):
        secret = invited(owner, "ann@example.com", mailoutbox)
    limit(members=1)
    answer = signed_in(owner).post("/invitations", {"email": "bob@example.com", "role": "member"})
    assert answer.status_code == 422
    assert "The plan free has room for 1 member," in answer.content.decode()
    answer = anonymous.post(f"/invitations/{secret}", {"name": "Ann", "password": PASSWORD})
    assert answer.status_code == 422
    assert "The plan free has room for 1 member," in answer.content.decode()


# --- Imports ---------------------------------------------------------------------------------------------------------------

ROWS = "".join(f"person{number}@example.com,Person {number}\n" for number in range(6))
BEYOND = "The plan free has room for 4 members, and all of it is taken. Remove somebody, or ask for another plan."


@pytest.fixture(params=[imports.BATCH, 2], ids=["one batch", "batches of two"])
def batches(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "BATCH", request.param)


def test_the_first_rows_have_the_room_and_the_others_are_reported(
    asking: Api, acme: TenantRef, owner: User, limit: Any, batches: None
) -> None:
    limit(members=4)
    content = f"email,name\n{owner.email},{owner.name}\n{ROWS}nobody,No Address\nperson0@example.com,Again\n"
    job = imported(asking, acme, content)
    assert job.state == "succeeded"
    assert job.counts == {"created": 3, "updated": 0, "unchanged": 1, "refused": 5}
    assert sorted(members(acme)) == sorted([owner.email, *(f"person{number}@example.com" for number in range(3))])
    assert problems(acme, job)[:3] == [(row, "email", f"person{row - 3}@example.com", BEYOND) for row in (6, 7, 8)]


def test_a_dry_run_foresees_it(asking: Api, acme: TenantRef, limit: Any, batches: None) -> None:
    limit(members=4)
    answer = send(asking, f"email,name\n{ROWS}", key="dry", QUERY_STRING="dry_run=true")
    job = run(acme, answer.json()["id"])
    assert job.counts == {"created": 3, "updated": 0, "unchanged": 0, "refused": 3}
    assert len(members(acme)) == 1


def test_who_is_a_member_already_is_brought_up_to_date_all_the_same(asking: Api, acme: TenantRef, limit: Any) -> None:
    imported(asking, acme, f"email,name\n{ROWS}")
    limit(members=4)
    job = imported(asking, acme, f"email,name\n{ROWS.replace('Person', 'Citizen')}new@example.com,New\n")
    assert job.counts == {"created": 0, "updated": 6, "unchanged": 0, "refused": 1}


def test_a_worker_that_dies_changes_nothing_of_it(
    asking: Api, acme: TenantRef, limit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "BATCH", 2)
    limit(members=4)
    answer = send(asking, f"email,name\n{ROWS}")
    with use_tenant(acme):
        job = job_dies(Job.objects.get(pk=answer.json()["id"]), after_steps=3)
    job = run(acme, job.pk)
    assert job.counts == {"created": 3, "updated": 0, "unchanged": 0, "refused": 3}
    assert len(members(acme)) == 4
    assert len(problems(acme, job)) == 3


# --- At once ---------------------------------------------------------------------------------------------------------------


def add_at_once(ref: TenantRef, adders: int) -> tuple[int, int]:
    """So many members added in one moment: how many were refused, and how many there are."""
    # Each of them waits for the lock with a connection of its own, and whoever has it needs one to control.
    pool = pool_of(server_of(ref.server).primary)
    former = pool.max_size
    pool.resize(3 * adders)
    outcomes = at_once(
        ref, *[partial(member_create, by=None, email=f"person{number}@example.com") for number in range(adders)]
    )
    pool.resize(former)
    refused = sum(isinstance(outcome, PlanLimitReached) for outcome in outcomes)
    assert refused + sum(isinstance(outcome, User) for outcome in outcomes) == adders, outcomes
    with use_tenant(ref):
        return refused, User.objects.count()


def test_of_twenty_at_once_exactly_the_limit_are_added(lasting_tenant: LastingTenant, limit: Any) -> None:
    limit(members=7)
    assert add_at_once(lasting_tenant(), 20) == (13, 7)


def test_without_the_lock_more_are_added(
    lasting_tenant: LastingTenant, limit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control, among twenty who take a moment between their look and what they add."""
    count = room._count

    def slow_count() -> int:
        found = count()
        threading.Event().wait(0.02)
        return found

    monkeypatch.setattr(room, "_count", slow_count)
    limit(members=7)
    assert add_at_once(lasting_tenant(), 20) == (13, 7)
    monkeypatch.setattr(room, "_TAKE_TURNS", "SELECT %s")
    assert add_at_once(lasting_tenant(), 20)[1] > 7

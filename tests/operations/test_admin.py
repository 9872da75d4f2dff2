"""The operators' admin, on the control host alone."""

from __future__ import annotations

import re
import time

import pytest
from django.test import Client

from accounts.models import User
from activity.jobs import turns
from tenants import admin_pools, workers
from tenants.context import use_control, use_tenant
from tenants.ids import new_id
from tenants.models import JobSchedule, JobSummary, JobTurn, Server, Tenant
from tenants.refs import TenantRef

PASSWORD = "a long enough passphrase"
PAGES = [
    "/admin/",
    "/admin/pools/",
    "/admin/workers/",
    "/admin/tenants/tenant/",
    "/admin/tenants/tenant/?q=acm&state__exact=active",
    "/admin/tenants/server/",
    "/admin/tenants/domain/",
    "/admin/tenants/jobsummary/",
    "/admin/tenants/jobturn/",
    "/admin/tenants/jobschedule/",
    "/admin/tenants/usageday/",
    "/admin/tenants/usageday/?q=acm&tenant__plan__exact=free",
    "/admin/tenants/jobpause/",
    "/admin/tenants/jobpause/add/",
    "/admin/tenants/domain/add/",
    "/admin/accounts/user/",
    "/admin/accounts/user/add/",
    "/admin/activity/loggedevent/",
    "/admin/activity/loggedevent/?tenant=acme",
    "/admin/password_change/",
]


@pytest.fixture
def operator(tenants: dict[str, TenantRef]) -> User:
    """A superuser of the control database."""
    with use_control():
        return User.objects.create_superuser("operator@example.com", PASSWORD, name="Olga Operator")


@pytest.fixture
def client(operator: User) -> Client:
    """Signed in through the admin's own form."""
    client = Client(HTTP_HOST="localhost")
    answer = client.post("/admin/login/?next=/admin/", {"username": operator.email, "password": PASSWORD})
    assert answer.status_code == 302, answer.content.decode()
    return client


@pytest.mark.parametrize("page", PAGES)
def test_an_operator_sees_each_page_under_a_policy_without_inline_code(client: Client, page: str) -> None:
    answer = client.get(page)
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    text = answer.content.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)", text)
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", text)


def test_tenants_show_no_credentials(client: Client, acme: TenantRef) -> None:
    text = client.get(f"/admin/tenants/tenant/{acme.id}/change/").content.decode()
    assert acme.database in text
    assert acme.password not in text
    assert "password" not in text.lower().replace("change password", "").replace("password_change", "")


def test_servers_show_address_lag_and_pool_use_and_no_password(client: Client) -> None:
    with use_control():
        server = Server.objects.get()
    for page in ("/admin/tenants/server/", f"/admin/tenants/server/{server.name}/change/"):
        text = client.get(page).content.decode()
        assert re.search(r"\d bytes", text)
        assert "127.0.0.1:" in text
        assert server.url not in text


def test_the_page_of_pools_draws_what_each_pool_has(client: Client) -> None:
    text = client.get("/admin/pools/").content.decode()
    with use_control():
        name = Server.objects.get().name
    (control,) = [uses for pool, uses in admin_pools.pools() if pool in {"control", name}]
    assert control[0].size >= 1
    assert control[0].opened >= control[0].size
    assert re.search(rf'aria-label="\d+ in use and \d+ idle of {control[0].limit}"', text)


def test_a_bar_is_as_wide_as_its_pool_is_full() -> None:
    numbers = dict.fromkeys(("connections_stolen", "connections_lost", "requests_errors", "usage_ms"), 0.0)
    numbers |= {"pool_max": 20.0, "pool_size": 15.0, "pool_available": 10.0, "requests_waiting": 2.0}
    numbers |= {"connections_num": 40.0, "requests_num": 100.0, "usage_ms": 250.0}
    numbers |= {"requests_wait_ms": 30.0, "requests_queued": 3.0}
    use = admin_pools.PoolUse.of("eu1", "web", numbers)
    assert (use.in_use, use.waiting, use.mean_use, use.mean_wait) == (5, 2, 2.5, 10.0)
    assert use.bar == {"in_use": 25.0, "idle": 50.0}
    empty = admin_pools.PoolUse.of("eu1", "web", dict.fromkeys(numbers, 0.0))
    assert (empty.bar, empty.mean_use) == ({"in_use": 0.0, "idle": 0.0}, 0.0)


def test_a_stranger_sees_no_pools() -> None:
    assert Client(HTTP_HOST="localhost").get("/admin/pools/").status_code == 302


def test_suspending_and_resuming_are_recorded(client: Client, acme: TenantRef) -> None:
    for action, state in (("suspend", "suspended"), ("resume", "active")):
        answer = client.post("/admin/tenants/tenant/", {"action": action, "_selected_action": [acme.id]}, follow=True)
        assert "1 " in answer.content.decode()
        with use_control():
            assert Tenant.objects.get(pk=acme.id).state == state
    with use_control():
        from activity.models import OutboxEvent

        actions = list(OutboxEvent.objects.order_by("id").values_list("document__action", flat=True))
    assert actions[-2:] == ["tenant.suspended", "tenant.resumed"]


def test_nothing_is_added_deleted_or_saved_by_hand(client: Client, acme: TenantRef) -> None:
    assert client.get("/admin/tenants/tenant/add/").status_code == 403
    assert client.get(f"/admin/tenants/tenant/{acme.id}/delete/").status_code == 403
    client.post(f"/admin/tenants/tenant/{acme.id}/change/", {"slug": "other", "state": "suspended"})
    with use_control():
        tenant = Tenant.objects.get(pk=acme.id)
    assert (tenant.slug, tenant.state) == ("acme", "active")


def test_an_operator_can_make_another(client: Client) -> None:
    form = {"email": "second@example.com", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    assert client.post("/admin/accounts/user/add/", form).status_code == 302
    with use_control():
        assert User.objects.get(email="second@example.com").check_password(PASSWORD)


def test_members_of_a_tenant_never_get_in(acme: TenantRef) -> None:
    with use_tenant(acme):
        User.objects.create_superuser("owner@acme.example", PASSWORD)
    control = Client(HTTP_HOST="localhost")
    answer = control.post("/admin/login/", {"username": "owner@acme.example", "password": PASSWORD})
    assert answer.status_code == 200  # the form again
    assert control.get("/admin/").status_code == 302
    assert Client(HTTP_HOST="acme.localhost").get("/admin/").status_code == 404


def test_a_session_of_a_tenant_is_none_on_the_control_host(client: Client, acme: TenantRef) -> None:
    with use_tenant(acme):
        member = User.objects.create_superuser("owner@acme.example", PASSWORD)
        theirs = Client(HTTP_HOST="acme.localhost")
        theirs.force_login(member)
    stranger = Client(HTTP_HOST="localhost")
    stranger.cookies = theirs.cookies
    assert stranger.get("/admin/").status_code == 302


def test_an_ordinary_user_of_control_is_no_operator(tenants: dict[str, TenantRef]) -> None:
    with use_control():
        User.objects.create_user("someone@example.com", PASSWORD)
    client = Client(HTTP_HOST="localhost")
    answer = client.post("/admin/login/", {"username": "someone@example.com", "password": PASSWORD})
    assert answer.status_code == 200
    assert client.get("/admin/").status_code == 302


def test_an_operator_pauses_and_resumes_an_organisation_and_a_kind(client: Client, acme: TenantRef) -> None:
    with use_control():
        JobTurn.objects.all().delete()
        turns.wait(acme.id)
        summary = JobSummary.objects.create(id=new_id(), tenant_id=acme.id, kind="members.export")
    text = client.get("/admin/tenants/jobturn/").content.decode()
    assert "waits for its turn" in text
    for action, paused, words in (("pause", True, "What runs goes on."), ("resume", False, "go on within seconds")):
        answer = client.post("/admin/tenants/jobturn/", {"action": action, "_selected_action": acme.id}, follow=True)
        assert words in answer.content.decode()
        with use_control():
            assert JobTurn.objects.get(pk=acme.id).is_paused is paused
    answer = client.post("/admin/tenants/jobpause/add/", {"kind": "members.export"}, follow=True)
    assert "Export of members" in answer.content.decode() or "members.export" in answer.content.decode()
    with use_control():
        assert turns.take() is None
    answer = client.post("/admin/tenants/jobpause/members.export/delete/", {"post": "yes"}, follow=True)
    assert answer.status_code == 200
    with use_control():
        turns.repair()
        taken = turns.take()
    assert taken is not None
    assert taken.job_id == summary.pk


def test_an_operator_sees_what_each_has_waiting_and_running(client: Client, acme: TenantRef) -> None:
    with use_control():
        JobSummary.objects.all().delete()
        JobTurn.objects.all().delete()
        for owner, count in ((acme.id, 2), (None, 3)):  # None: control's own
            turns.wait(owner)
            for number in range(count):
                state = "running" if number else "queued"
                JobSummary.objects.create(id=new_id(), tenant_id=owner, kind="members.export", state=state)
    page = client.get("/admin/tenants/jobturn/").content.decode()
    for name, running in (("acme", 1), ("control", 2)):
        row = re.search(rf">{name}</th>(.*?)</tr>|>{name}</td>(.*?)</tr>", page, re.DOTALL)
        assert row is not None, page
        assert re.findall(r"field-(?:waiting|running)\">(\d+)<", row[0]) == ["1", str(running)]


def test_operators_filter_jobs_by_state_and_kind(client: Client, acme: TenantRef) -> None:
    with use_control():
        JobSummary.objects.create(id=new_id(), tenant_id=acme.id, kind="members.export", state="failed", error="Nope.")
    for query, is_there in (("state=failed&kind=members.export", True), ("state=running", False), ("kind=x", False)):
        assert ("Nope." in client.get(f"/admin/tenants/jobsummary/?{query}").content.decode()) == is_there


def test_an_operator_sees_whose_schedules_are_due_when_and_changes_nothing(client: Client, acme: TenantRef) -> None:
    assert ">acme<" not in client.get("/admin/tenants/jobschedule/").content.decode()
    with use_control():
        JobSchedule.objects.create(tenant_id=acme.id, due_at="2026-05-04T07:00:00Z")
    page = client.get("/admin/tenants/jobschedule/?q=acm").content.decode()
    assert ">acme<" in page
    assert "May 4, 2026, 7 a.m." in page
    assert client.get("/admin/tenants/jobschedule/add/").status_code == 403
    assert client.post(f"/admin/tenants/jobschedule/{acme.id}/delete/", {"post": "yes"}).status_code == 403


def test_a_kind_that_is_not_there_can_not_be_paused(client: Client) -> None:
    answer = client.post("/admin/tenants/jobpause/add/", {"kind": "no.such"})
    assert "is not one of the available choices" in answer.content.decode()


def test_the_page_of_workers_shows_who_runs_what(
    client: Client, acme: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of three answer here; a real one does in tests/operations/test_celery.py."""
    answering = [workers.Worker("one@host", 4, 1234), workers.Worker("two@host", 1, 1)]
    monkeypatch.setattr(workers, "answering", lambda: answering)
    with use_control():
        for worker in ("one@host 77", "gone@host 5"):
            JobSummary.objects.create(
                id=new_id(), tenant_id=acme.id, kind="members.export", state="running", worker=worker
            )
    text = client.get("/admin/workers/").content.decode()
    assert "4 processes, 1,234 tasks since it started" in text
    assert "1 process, 1 task since it started" in text
    assert "<td>acme</td><td>members.export</td><td>77</td>" in text
    gone = text.split('aria-label="gone@host"', 1)[1].split("</section>", 1)[0]
    assert "doesn't answer" in gone
    assert "<td>5</td>" in gone


def test_the_page_of_workers_comes_without_the_broker(
    client: Client, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    away = workers.current_app.connection_for_read(f"redis://127.0.0.1:{closed_port}/0")
    monkeypatch.setattr(workers.current_app, "connection_for_read", lambda: away)
    begun = time.monotonic()
    text = client.get("/admin/workers/").content.decode()
    assert "The broker doesn't answer" in text
    assert time.monotonic() - begun < 6


def test_a_stranger_sees_no_workers() -> None:
    assert Client(HTTP_HOST="localhost").get("/admin/workers/").status_code == 302

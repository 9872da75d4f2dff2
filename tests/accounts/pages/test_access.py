"""Who may see and send what: each page and each form, for each role and for nobody."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern

from accounts.models import User
from config import urls_tenant
from tests.accounts.pages.conftest import SignedIn

NOBODY = "00000000-0000-7000-8000-000000000000"
READABLE = ["/", "/members", "/activity", "/activity/verify", "/jobs", "/jobs/schedules", "/tokens", "/settings"]
# Forms and the roles that may send them. A refusal is 403; anything else is the form's own answer.
WRITABLE = {
    "/invitations": {"owner", "admin"},
    f"/invitations/{NOBODY}/revoke": {"owner", "admin"},
    f"/members/{NOBODY}/update": {"owner", "admin"},
    f"/members/{NOBODY}/role": {"owner", "admin"},
    f"/members/{NOBODY}/deactivate": {"owner", "admin"},
    f"/members/{NOBODY}/reactivate": {"owner", "admin"},
    f"/members/{NOBODY}/remove": {"owner", "admin"},
    "/settings/organisation": {"owner", "admin"},
    "/activity/verify/start": {"owner", "admin"},
    "/activity/verify/file": {"owner", "admin"},
    "/activity/retention": {"owner", "admin"},
    "/jobs/schedules/create": {"owner", "admin"},
    **{f"/jobs/schedules/{NOBODY}/{do}": {"owner", "admin"} for do in ("update", "pause", "resume", "run", "delete")},
    "/webhooks/create": {"owner", "admin"},
    **{f"/webhooks/{NOBODY}/{do}": {"owner", "admin"} for do in ("update", "switch", "secret", "test", "remove")},
    f"/webhooks/{NOBODY}/deliveries/{NOBODY}/resend": {"owner", "admin"},
    "/tokens/create": {"owner", "admin", "member"},
    f"/tokens/{NOBODY}/revoke": {"owner", "admin", "member"},
    "/settings/archive": {"owner", "admin"},
    f"/jobs/{NOBODY}/link": {"owner", "admin"},
    "/settings/profile": {"owner", "admin", "member", "viewer"},
    "/settings/password": {"owner", "admin", "member", "viewer"},
}


@pytest.fixture
def person(request: Any) -> User:
    user: User = request.getfixturevalue(request.param)
    return user


@pytest.mark.parametrize("path", READABLE)
def test_nobody_is_asked_to_sign_in_and_comes_back(anonymous: Client, path: str) -> None:
    answer = anonymous.get(f"{path}?q=x")
    assert answer.status_code == 302
    assert answer["Location"].startswith("/login?next=")


@pytest.mark.parametrize("path", WRITABLE)
def test_nobody_sends_a_form(anonymous: Client, path: str) -> None:
    answer = anonymous.post(path)
    assert (answer.status_code, answer["Location"]) == (302, "/login?next=/")


@pytest.mark.parametrize("person", ["owner", "admin", "member", "viewer"], indirect=True)
def test_every_member_reads_every_page(signed_in: SignedIn, person: User) -> None:
    client = signed_in(person)
    assert {path: client.get(path).status_code for path in [*READABLE, f"/members/{person.pk}"]} == dict.fromkeys(
        [*READABLE, f"/members/{person.pk}"], 200
    )


@pytest.mark.parametrize("person", ["owner", "admin", "member", "viewer"], indirect=True)
def test_a_form_is_for_the_roles_that_may(signed_in: SignedIn, person: User) -> None:
    client = signed_in(person)
    allowed = {path for path in WRITABLE if client.post(path).status_code != 403}
    assert allowed == {path for path, roles in WRITABLE.items() if person.role in roles}


def test_a_refusal_says_whom_to_ask(signed_in: SignedIn, viewer: User) -> None:
    answer = signed_in(viewer).post("/invitations")
    assert "Ask an owner or an admin" in answer.content.decode()


@pytest.mark.parametrize("path", WRITABLE)
def test_a_form_is_sent_by_post_alone(signed_in: SignedIn, owner: User, path: str) -> None:
    assert signed_in(owner).get(path).status_code in {404, 405}


@pytest.mark.parametrize("path", WRITABLE)
def test_a_form_without_its_csrf_token_is_refused(signed_in: SignedIn, owner: User, path: str) -> None:
    answer = signed_in(owner, enforce_csrf_checks=True).post(path)
    assert answer.status_code == 403
    assert "This form was open too long" in answer.content.decode()


def test_a_session_of_one_tenant_is_nobody_in_another(signed_in: SignedIn, owner: User, stranger: User) -> None:
    assert signed_in(owner).get("/members", HTTP_HOST="globex.localhost").status_code == 302


def test_no_page_is_kept_by_a_cache(signed_in: SignedIn, owner: User) -> None:
    assert "no-store" in signed_in(owner).get("/members")["Cache-Control"]


def test_htmx_goes_to_sign_in_as_a_whole_page(anonymous: Client) -> None:
    answer = anonymous.get(
        "/members?q=x", headers={"HX-Request": "true", "HX-Current-URL": "http://acme.localhost/members"}
    )
    assert answer["HX-Redirect"] == "/login?next=/members"


def test_of_allauth_only_what_is_meant_is_reached() -> None:
    names = {pattern.name for pattern in urls_tenant.urlpatterns if isinstance(pattern, URLPattern)}
    assert {name for name in names if name and name.startswith(("account_", "mfa_", "socialaccount_"))} == {
        "account_login",
        "account_logout",
        "account_inactive",
        "account_reset_password",
        "account_reset_password_done",
        "account_reset_password_from_key",
        "account_reset_password_from_key_done",
    }

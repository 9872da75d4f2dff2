"""Signing in and resetting a password by the pages, which are django-allauth's with Tenantry's adapter."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from activity.models import OutboxEvent
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import PASSWORD

NEW_PASSWORD = "another fine password"


@pytest.fixture
def browser(acme: TenantRef) -> Client:
    return Client(HTTP_HOST="acme.localhost")


def _sign_in(browser: Client, password: str, email: str = "mia@acme.example") -> Any:
    return browser.post("/login", {"login": email, "password": password})


def _actions(ref: TenantRef) -> list[str]:
    with use_tenant(ref):
        return [
            document["action"] for document in OutboxEvent.objects.order_by("id").values_list("document", flat=True)
        ]


def test_a_member_signs_in_and_out(browser: Client, member: User, acme: TenantRef) -> None:
    assert _sign_in(browser, PASSWORD, "MIA@acme.example").status_code == 302
    assert browser.get("/api/v1/me").json()["email"] == member.email
    browser.post("/logout")
    assert browser.get("/api/v1/me").status_code == 401
    assert _actions(acme) == ["session.signed_in", "session.signed_out"]


def test_too_many_failures_are_told(browser: Client, member: User) -> None:
    for _ in range(10):
        _sign_in(browser, "wrong")
    answer = _sign_in(browser, PASSWORD)
    assert answer.status_code != 302
    assert "Too many failed login attempts" in answer.content.decode()


def test_the_page_says_the_same_of_a_stranger(browser: Client, member: User, mailoutbox: list[Any]) -> None:
    known = browser.post("/password/reset", {"email": member.email})
    unknown = browser.post("/password/reset", {"email": "nobody@acme.example"})
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])
    assert [mail.to for mail in mailoutbox] == [[member.email]]


@pytest.fixture
def link(browser: Client, member: User, mailoutbox: list[Any]) -> str:
    """The path of a reset link that was mailed."""
    browser.post("/password/reset", {"email": member.email})
    found = re.search(r"//acme\.localhost(?::\d+)?(/\S+)", mailoutbox[0].body)
    assert found
    return found[1]


def test_a_reset_link_sets_a_password_once(browser: Client, link: str, acme: TenantRef) -> None:
    form = browser.get(link)  # allauth keeps the secret in the session and goes on without it in the URL
    answer = browser.post(form["Location"], {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD})
    assert answer.status_code == 302
    assert _actions(acme) == ["member.updated"]
    assert _sign_in(Client(HTTP_HOST="acme.localhost"), NEW_PASSWORD).status_code == 302
    assert Client(HTTP_HOST="acme.localhost").get(link).status_code == 200  # the page that says it is used up


def test_a_reset_link_of_one_tenant_is_nothing_in_another(link: str, member: User, globex: TenantRef) -> None:
    with use_tenant(globex):  # the same person is there too, equal in all that a link depends on but the tenant's key
        User.objects.create(pk=member.pk, email=member.email, password=member.password, role=member.role)
    stranger = Client(HTTP_HOST="globex.localhost")
    assert stranger.get(link).status_code == 200
    assert Client(HTTP_HOST="acme.localhost").get(link).status_code == 302


def test_a_weak_password_is_refused(browser: Client, link: str, acme: TenantRef) -> None:
    form = browser.get(link)
    answer = browser.post(form["Location"], {"password1": "mia", "password2": "mia"})
    assert answer.status_code != 302
    assert _actions(acme) == []


def test_resets_are_limited(browser: Client, member: User, mailoutbox: list[Any]) -> None:
    for _ in range(8):
        assert browser.post("/password/reset", {"email": member.email}).status_code == 302
    assert len(mailoutbox) == 5


def test_sign_up_is_closed_here(browser: Client) -> None:
    assert browser.get("/signup").status_code == 404

"""Invitation links and single-use sign-in links."""

from __future__ import annotations

import re

from django.core import mail
from django.test import Client

from accounts.models import User
from accounts.services.invitations import invitation_send
from accounts.signup import sign_in_link_create
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import PASSWORD
from tests.accounts.pages.conftest import SignedIn

JOIN = {"name": "New", "password": PASSWORD}


def invitation_path(acme: TenantRef, owner: User, capture: object) -> str:
    with use_tenant(acme), capture(execute=True):  # type: ignore[operator]
        invitation_send(by=owner, email="new@acme.example")
    link = re.search(r"http://acme\.localhost\S*(/invitations/\S+)", str(mail.outbox[-1].body))
    assert link
    return link[1]


def test_an_invitation_is_accepted_by_its_form_and_not_by_looking_at_it(
    anonymous: Client, acme: TenantRef, owner: User, django_capture_on_commit_callbacks: object
) -> None:
    path = invitation_path(acme, owner, django_capture_on_commit_callbacks)
    for _ in range(3):  # scanners and previews follow links
        assert "new@acme.example" in anonymous.get(path).content.decode()
    joined = anonymous.post(path, JOIN)
    assert (joined.status_code, joined["Location"]) == (302, "/")
    assert "New" in anonymous.get("/").content.decode()
    assert Client(HTTP_HOST="acme.localhost").get(path).status_code == 410


def test_a_weak_password_is_refused_beside_its_field(
    anonymous: Client, acme: TenantRef, owner: User, django_capture_on_commit_callbacks: object
) -> None:
    path = invitation_path(acme, owner, django_capture_on_commit_callbacks)
    answer = anonymous.post(path, {"name": "New", "password": "password"})
    assert answer.status_code == 422
    assert 'id="id_password_error"' in answer.content.decode()


def test_an_invitation_of_one_tenant_is_nothing_in_another(
    anonymous: Client, acme: TenantRef, owner: User, stranger: User, django_capture_on_commit_callbacks: object
) -> None:
    path = invitation_path(acme, owner, django_capture_on_commit_callbacks)
    assert anonymous.post(path, JOIN, HTTP_HOST="globex.localhost").status_code == 410


def test_a_sign_in_link_is_used_up_by_its_form_alone(anonymous: Client, acme: TenantRef, member: User) -> None:
    with use_tenant(acme):
        path = f"/sign-in/{sign_in_link_create(user=member)}"
    assert anonymous.get(path).status_code == 200
    assert anonymous.post(path)["Location"] == "/"
    assert "Mia" in anonymous.get("/").content.decode()
    again = Client(HTTP_HOST="acme.localhost").post(path)
    assert again.status_code == 410
    assert "Sign in with your password" in again.content.decode()


def test_whoever_was_signed_in_is_signed_out_first(
    signed_in: SignedIn, acme: TenantRef, owner: User, member: User
) -> None:
    client = signed_in(owner)
    former = client.cookies["sessionid"].value
    with use_tenant(acme):
        path = f"/sign-in/{sign_in_link_create(user=member)}"
    client.post(path)
    assert "Mia" in client.get("/").content.decode()
    stale = Client(HTTP_HOST="acme.localhost")
    stale.cookies["sessionid"] = former
    assert stale.get("/").status_code == 302

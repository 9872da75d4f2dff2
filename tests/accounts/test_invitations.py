from __future__ import annotations

import pytest
from django.test import TestCase

from accounts.errors import EmailTaken, InvitationUnusable
from accounts.models import Invitation, User
from accounts.services.invitations import invitation_accept, invitation_find, invitation_send
from tenants.refs import TenantRef
from tests.accounts.conftest import PASSWORD, Api, ApiOf

Outbox = list  # pytest-django's mailoutbox


def _send(email: str, mailoutbox: Outbox, **facts: object) -> str:
    """Send an invitation and answer the secret in its mail's link."""
    with TestCase.captureOnCommitCallbacks(execute=True):
        invitation_send(by=None, email=email, **facts)  # type: ignore[arg-type]
    return mailoutbox[-1].body.split("/invitations/")[1].split()[0]


def test_an_admin_invites(api: ApiOf, admin: User) -> None:
    asking = api(admin)
    answer = asking.post("/invitations", {"email": "grace@example.com", "role": "viewer"})
    assert answer.status_code == 201
    sent = answer.json()
    assert (sent["email"], sent["role"], sent["state"], sent["invited_by"]) == (
        "grace@example.com",
        "viewer",
        "pending",
        str(admin.id),
    )
    assert "token" not in sent
    assert asking.get("/invitations").json() == {"items": [sent], "next": None}


def test_the_mail_has_a_link_to_this_organisation(tenant: TenantRef, owner: User, mailoutbox: Outbox) -> None:
    with TestCase.captureOnCommitCallbacks(execute=True):
        invitation_send(by=owner, email="grace@example.com")
    mail = mailoutbox[-1]
    assert mail.to == ["grace@example.com"]
    assert "Olivia" in mail.body
    assert "://acme.localhost" in mail.body


def test_an_invited_person_becomes_a_member_once(tenant: TenantRef, mailoutbox: Outbox) -> None:
    secret = _send("Grace@example.com", mailoutbox, role="admin")
    user = invitation_accept(secret=secret, name="Grace", password=PASSWORD)
    assert (user.email, user.role, user.check_password(PASSWORD)) == ("Grace@example.com", "admin", True)
    with pytest.raises(InvitationUnusable):
        invitation_accept(secret=secret, name="Again", password=PASSWORD)


def test_inviting_again_replaces_the_first(tenant: TenantRef, mailoutbox: Outbox) -> None:
    first = _send("grace@example.com", mailoutbox)
    second = _send("GRACE@example.com", mailoutbox)
    with pytest.raises(InvitationUnusable):
        invitation_find(first)
    assert invitation_find(second).state == "pending"


def test_an_expired_one_is_unusable(tenant: TenantRef, mailoutbox: Outbox) -> None:
    secret = _send("grace@example.com", mailoutbox)
    Invitation.objects.update(expires_at="2020-01-01T00:00Z")
    with pytest.raises(InvitationUnusable):
        invitation_accept(secret=secret, name="", password=PASSWORD)


def test_who_joined_meanwhile_keeps_the_invitation_unaccepted(tenant: TenantRef, mailoutbox: Outbox) -> None:
    secret = _send("grace@example.com", mailoutbox)
    User.objects.create_user("grace@example.com")
    with pytest.raises(EmailTaken):
        invitation_accept(secret=secret, name="", password=PASSWORD)
    assert invitation_find(secret).state == "pending"


def test_a_revoked_one_is_gone(api: ApiOf, owner: User) -> None:
    asking = api(owner)
    sent = asking.post("/invitations", {"email": "grace@example.com"}).json()
    assert asking.delete(f"/invitations/{sent['id']}").status_code == 204
    assert asking.delete(f"/invitations/{sent['id']}").status_code == 404
    assert asking.get("/invitations").json()["items"] == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"email": "mia@ACME.example"}, 409),
        ({"email": "nonsense"}, 422),
        ({"email": "o@x.example", "role": "owner"}, 403),
    ],
)
def test_what_is_refused(api: ApiOf, admin: User, member: User, body: dict[str, str], status: int) -> None:
    assert api(admin).post("/invitations", body).status_code == status


def test_members_see_none(api: ApiOf, member: User) -> None:
    asking: Api = api(member)
    assert asking.get("/invitations").status_code == 403
    assert asking.post("/invitations", {"email": "x@x.example"}).status_code == 403

"""The pages of members and invitations."""

from __future__ import annotations

import pytest

from accounts.models import Invitation, User
from accounts.services.invitations import invitation_send
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.pages.conftest import SignedIn


def test_search_answers_htmx_with_the_rows_alone(signed_in: SignedIn, owner: User, member: User) -> None:
    answer = signed_in(owner).get("/members?q=mia", headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in answer
    assert "mia@acme.example" in answer
    assert "olivia@acme.example" not in answer


def test_a_page_goes_on_where_the_last_one_ended(signed_in: SignedIn, acme: TenantRef, owner: User) -> None:
    with use_tenant(acme):
        for number in range(60):
            User.objects.create_user(f"p{number:02}@acme.example", name=f"Person {number:02}")
    client = signed_in(owner)
    first = client.get("/members?q=person")
    assert first.content.decode().count('<tr id="member-') == 50
    following = client.get(f"/members?q=person&cursor={first.context['next']}")
    assert following.content.decode().count('<tr id="member-') == 10
    assert "First page" in following.content.decode()


def test_a_cursor_that_is_none_shows_the_first_page(signed_in: SignedIn, owner: User) -> None:
    answer = signed_in(owner).get("/members?cursor=nonsense&invitations=nonsense")
    assert answer.status_code == 200
    assert "olivia@acme.example" in answer.content.decode()


def test_a_name_is_text_and_not_markup(signed_in: SignedIn, acme: TenantRef, owner: User, member: User) -> None:
    with use_tenant(acme):
        User.objects.filter(pk=member.pk).update(name="<script>alert(1)</script>")
    answer = signed_in(owner).get("/members").content.decode()
    assert "<script>alert" not in answer
    assert "&lt;script&gt;alert" in answer


def test_the_role_changes_in_its_cell(signed_in: SignedIn, acme: TenantRef, owner: User, member: User) -> None:
    answer = signed_in(owner).post(f"/members/{member.pk}/role", {"role": "viewer"})
    assert "Saved: viewer" in answer.content.decode()
    with use_tenant(acme):
        assert User.objects.get(pk=member.pk).role == "viewer"


@pytest.mark.parametrize("role", ["member", "emperor"])
def test_a_role_that_is_refused_leaves_the_cell_as_it_is(
    signed_in: SignedIn, acme: TenantRef, owner: User, role: str
) -> None:
    answer = signed_in(owner).post(f"/members/{owner.pk}/role", {"role": role}).content.decode()
    assert 'role="alert"' in answer
    assert '<option value="owner" selected>' in answer
    with use_tenant(acme):
        assert User.objects.get(pk=owner.pk).role == "owner"


def test_an_admin_is_offered_no_power_over_owners(signed_in: SignedIn, admin: User, owner: User, member: User) -> None:
    client = signed_in(admin)
    answer = client.get("/members").content.decode()
    assert f"/members/{member.pk}/role" in answer
    assert f"/members/{owner.pk}/role" not in answer
    assert "Only an owner" in client.post(f"/members/{owner.pk}/deactivate", follow=True).content.decode()


def test_a_member_is_deactivated_reactivated_and_removed(
    signed_in: SignedIn, acme: TenantRef, owner: User, member: User
) -> None:
    client = signed_in(owner)
    assert "is deactivated" in client.post(f"/members/{member.pk}/deactivate", follow=True).content.decode()
    assert "can sign in again" in client.post(f"/members/{member.pk}/reactivate", follow=True).content.decode()
    assert "is removed" in client.post(f"/members/{member.pk}/remove", follow=True).content.decode()
    assert client.get(f"/members/{member.pk}").status_code == 404


def test_an_invitation_is_sent_and_revoked(signed_in: SignedIn, acme: TenantRef, owner: User) -> None:
    client = signed_in(owner)
    sent = client.post("/invitations", {"email": "new@acme.example", "role": "member"}, follow=True)
    assert "new@acme.example is invited." in sent.content.decode()
    with use_tenant(acme):
        invitation = Invitation.objects.get()
    assert "is revoked" in client.post(f"/invitations/{invitation.pk}/revoke", follow=True).content.decode()
    assert "no longer open" in client.post(f"/invitations/{invitation.pk}/revoke", follow=True).content.decode()


def test_a_refused_invitation_says_why_beside_the_field(signed_in: SignedIn, owner: User, member: User) -> None:
    answer = signed_in(owner).post("/invitations", {"email": "MIA@acme.example", "role": "member"})
    assert answer.status_code == 422
    assert 'id="id_email_error"' in answer.content.decode()
    assert "already here" in answer.content.decode()


def test_who_may_not_invite_sees_no_invitations(
    signed_in: SignedIn, acme: TenantRef, owner: User, member: User
) -> None:
    with use_tenant(acme):
        invitation_send(by=owner, email="secret@acme.example")
    assert "secret@acme.example" not in signed_in(member).get("/members").content.decode()

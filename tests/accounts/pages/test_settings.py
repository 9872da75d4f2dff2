"""The organisation's settings and one's own."""

from __future__ import annotations

from django.test import Client

from accounts.models import User
from tenants.context import use_control, use_tenant
from tenants.models import Tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import PASSWORD
from tests.accounts.pages.conftest import SignedIn

ANOTHER = "a quite different sentence"


def test_ones_name_is_changed(signed_in: SignedIn, acme: TenantRef, member: User) -> None:
    signed_in(member).post("/settings/profile", {"name": "Mia Wallace"})
    with use_tenant(acme):
        assert User.objects.get(pk=member.pk).name == "Mia Wallace"


def test_a_password_is_changed_and_this_session_goes_on_while_others_end(signed_in: SignedIn, member: User) -> None:
    here, elsewhere = signed_in(member), signed_in(member)
    answer = here.post("/settings/password", {"former": PASSWORD, "password": ANOTHER}, follow=True)
    assert "Your password is changed." in answer.content.decode()
    assert elsewhere.get("/").status_code == 302


def test_a_wrong_former_password_is_refused_beside_its_field(signed_in: SignedIn, member: User) -> None:
    answer = signed_in(member).post("/settings/password", {"former": "wrong", "password": ANOTHER})
    assert answer.status_code == 422
    assert 'id="password_former_error"' in answer.content.decode()


def test_no_answer_repeats_a_password(signed_in: SignedIn, member: User) -> None:
    answer = signed_in(member).post("/settings/password", {"former": "the wrong one", "password": ANOTHER})
    assert "the wrong one" not in answer.content.decode()
    assert ANOTHER not in answer.content.decode()


def test_who_may_not_rename_the_organisation_sees_no_form_for_it(
    signed_in: SignedIn, owner: User, member: User
) -> None:
    assert "organisation_name" in signed_in(owner).get("/settings").content.decode()
    answer = signed_in(member).get("/settings").content.decode()
    assert "organisation_name" not in answer
    assert "An owner or an admin can change the name and the time zone." in answer
    assert "Time zone</dt>" in answer


def test_an_empty_name_of_the_organisation_is_refused(signed_in: SignedIn, owner: User) -> None:
    answer = signed_in(owner).post("/settings/organisation", {"name": " ", "time_zone": "UTC"})
    assert answer.status_code == 422
    assert 'id="organisation_name_error"' in answer.content.decode()


def test_a_zone_that_the_page_does_not_offer_is_kept(signed_in: SignedIn, owner: User, acme: TenantRef) -> None:
    with use_control():
        Tenant.objects.filter(pk=acme.id).update(time_zone="US/Eastern")
    client = signed_in(owner)
    assert '<option value="US/Eastern" selected>' in client.get("/settings").content.decode()
    client.post("/settings/organisation", {"name": "Acme and Sons", "time_zone": "US/Eastern"})
    with use_control():
        assert Tenant.objects.values_list("name", "time_zone").get(pk=acme.id) == ("Acme and Sons", "US/Eastern")


def test_signing_out_takes_a_post(signed_in: SignedIn, member: User) -> None:
    client: Client = signed_in(member)
    assert "Sign out?" in client.get("/logout").content.decode()
    assert client.get("/").status_code == 200
    assert client.post("/logout")["Location"] == "/login"
    assert client.get("/").status_code == 302

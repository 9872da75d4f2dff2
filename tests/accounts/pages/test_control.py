"""The control host's pages."""

from __future__ import annotations

import pytest
from django.test import Client

from tenants.refs import TenantRef


def test_the_landing_page_leads_to_sign_up(control: Client) -> None:
    assert 'href="/signup"' in control.get("/").content.decode()


def test_an_organisation_is_found_by_its_address(control: Client) -> None:
    answer = control.get("/find?slug= ACME ")
    assert answer.status_code == 302
    assert answer["Location"].startswith("http://acme.localhost")
    assert answer["Location"].endswith("/login")


@pytest.mark.parametrize("slug", ["nobody", "", "a b", "//evil.example"])
def test_an_organisation_that_is_not_there_is_told_beside_the_field(control: Client, slug: str) -> None:
    answer = control.get("/find", {"slug": slug})
    assert answer.status_code == 404
    assert 'id="id_slug_error"' in answer.content.decode()


@pytest.mark.parametrize(
    ("slug", "sentence"),
    [("a-new-one", "is free"), ("acme", "is taken"), ("www", "is reserved"), ("A", "Use 3 to 40"), ("", "Where your")],
)
def test_an_address_is_checked_while_it_is_written(control: Client, slug: str, sentence: str) -> None:
    assert sentence in control.get("/signup/slug", {"slug": slug}).content.decode()


def test_an_address_is_proposed_that_is_free(control: Client) -> None:
    assert 'value="acme-2"' in control.get("/signup/address", {"name": "Acme"}).content.decode()


def test_an_empty_sign_up_names_each_field(control: Client) -> None:
    answer = control.post("/signup")
    assert answer.status_code == 422
    for field in ("name", "slug", "owner_name", "owner_email", "owner_password"):
        assert f'id="id_{field}_error"' in answer.content.decode()


def test_forms_may_lead_to_tenants_hosts_from_here_alone(control: Client, anonymous: Client) -> None:
    assert "form-action 'self' http://*.localhost:*" in control.get("/signup")["Content-Security-Policy"]
    assert "form-action 'self';" in anonymous.get("/login")["Content-Security-Policy"] + ";"


def test_a_tenants_pages_are_not_on_the_control_host(control: Client, acme: TenantRef) -> None:
    assert {path: control.get(path).status_code for path in ("/members", "/login", "/settings")} == {
        "/members": 404,
        "/login": 404,
        "/settings": 404,
    }

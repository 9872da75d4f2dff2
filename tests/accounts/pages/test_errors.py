"""Error pages: a sentence, a way on, the request's id; and problem documents for the API."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client, RequestFactory

from accounts.models import User
from accounts.views import errors
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.pages.conftest import SignedIn


def test_an_unknown_path_is_a_page_with_the_requests_id(anonymous: Client) -> None:
    answer = anonymous.get("/no/such/page")
    assert answer.status_code == 404
    assert answer["X-Request-ID"] in answer.content.decode()


def test_an_unknown_path_of_the_api_is_a_problem_document(anonymous: Client) -> None:
    assert anonymous.get("/api/v1/no/such").json()["status"] == 404


def test_an_unknown_host_is_a_page_that_says_what_to_do(acme: TenantRef) -> None:
    answer = Client(HTTP_HOST="nobody.localhost").get("/")
    assert answer.status_code == 404
    assert "Find your organisation" in answer.content.decode()
    assert answer["X-Request-ID"] in answer.content.decode()


def test_a_member_that_is_not_here_is_404(signed_in: SignedIn, owner: User, stranger: User) -> None:
    assert signed_in(owner).get(f"/members/{stranger.pk}").status_code == 404


@pytest.mark.parametrize(("error", "status"), [(ValueError("secret"), 500), (OperationalError("secret"), 503)])
def test_a_failure_is_told_without_tenant_database_or_details(error: Exception, status: int) -> None:
    request: Any = RequestFactory().get("/")
    request.id = "request-1234"
    try:
        raise error
    except (ValueError, OperationalError):
        answer = errors.server_error(request)
    assert answer.status_code == status
    assert "request-1234" in answer.content.decode()
    assert "secret" not in answer.content.decode()
    assert answer.headers.get("Retry-After") == ("1" if status == 503 else None)


@pytest.mark.parametrize("template", ["400", "403", "404", "429", "500", "503", "403_csrf"])
def test_every_error_page_renders_with_nothing(template: str) -> None:
    from django.template.loader import render_to_string

    page = render_to_string(f"{template}.html")
    assert page.count("<h1>") == 1


def test_a_suspended_organisation_says_so(acme: TenantRef) -> None:
    from tenants import directory
    from tenants.context import use_control
    from tenants.models import Tenant

    with use_control():
        Tenant.objects.filter(pk=acme.id).update(state="suspended")
    directory.forget(acme.id)
    try:
        answer = Client(HTTP_HOST="acme.localhost").get("/")
    finally:
        with use_control():
            Tenant.objects.filter(pk=acme.id).update(state="active")
        directory.forget(acme.id)
    assert answer.status_code == 403
    assert "suspended" in answer.content.decode()


def test_sent_mails_are_a_page_of_development_alone(
    anonymous: Client, control: Client, settings: Any, acme: TenantRef
) -> None:
    assert anonymous.get("/outbox").status_code == 200
    assert control.get("/outbox").status_code == 200
    settings.TENANTRY_DEV = False
    with use_tenant(acme):
        assert anonymous.get("/outbox").status_code == 404
    assert anonymous.get("/outbox/00000000-0000-7000-8000-000000000000").status_code == 404
    assert control.get("/outbox").status_code == 404

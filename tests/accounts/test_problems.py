"""Every refusal of the API is a problem document with the request's id."""

from __future__ import annotations

import pytest

from accounts.models import User
from tests.accounts.conftest import Api, ApiOf


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("get", "/nothing", 404),
        ("get", "/members/not-an-id", 404),
        ("get", "/members/", 404),
        ("post", "/nothing/at/all", 404),
        ("put", "/members", 405),
        ("delete", "/me", 405),
        ("get", "/members?limit=0", 422),
        ("get", "", 404),
    ],
)
def test_it_is_a_problem(api: ApiOf, owner: User, method: str, path: str, status: int) -> None:
    answer = api(owner).request(method, path)
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["request_id"] == answer["X-Request-ID"]
    assert problem["title"]
    assert problem["detail"]


def test_a_wrong_method_is_told_the_right_ones(api: ApiOf, owner: User) -> None:
    answer = api(owner).request("put", "/members")
    assert {method.strip() for method in answer["Allow"].split(",")} == {"GET", "POST"}


def test_malformed_json_is_400(api: ApiOf, owner: User) -> None:
    assert api(owner).post("/members", "{").status_code == 400


def test_a_body_that_is_too_large_is_413(api: ApiOf, owner: User) -> None:
    assert api(owner).post("/members", "x" * (5 * 1024 * 1024 + 1)).status_code == 413


def test_other_versions_are_not_there(acme: object) -> None:
    answer = Api("acme.localhost", root="/api/v2").get("/me")
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"


def test_an_unexpected_error_tells_no_details(api: ApiOf, owner: User) -> None:
    from django.test import RequestFactory

    from config.api import tenant_api

    request = RequestFactory().get("/api/v1/me")
    answer = tenant_api.on_exception(request, RuntimeError("the password is swordfish"))
    assert answer.status_code == 500
    assert b"swordfish" not in answer.content


@pytest.mark.parametrize("module", ["psycopg_pool", "django", "pymongo"])
def test_a_database_that_is_away_is_503_with_retry_after(module: str) -> None:
    import psycopg_pool
    import pymongo.errors
    from django.db import OperationalError
    from django.test import RequestFactory

    from config.api import tenant_api

    errors = {
        "psycopg_pool": psycopg_pool.PoolTimeout("full"),
        "django": OperationalError("gone"),
        "pymongo": pymongo.errors.ServerSelectionTimeoutError("away"),
    }
    answer = tenant_api.on_exception(RequestFactory().get("/api/v1/me"), errors[module])
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) >= 1

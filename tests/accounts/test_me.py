from __future__ import annotations

from accounts.models import User
from tests.accounts.conftest import Api, ApiOf


def test_me_is_the_tokens_user(api: ApiOf, member: User) -> None:
    answer = api(member).get("/me")
    assert answer.status_code == 200
    assert answer.json() == {
        "id": str(member.id),
        "email": "mia@acme.example",
        "name": "Mia",
        "role": "member",
        "tenant": {"slug": "acme", "name": "Acme"},
    }


def test_nobody_is_asked_for_a_token(acme: object) -> None:
    answer = Api("acme.localhost").get("/me")
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"] == "Bearer"
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer["X-Request-ID"]

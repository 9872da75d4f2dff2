"""What no line of a log may hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tenants.logs import _HARMLESS_TEXT, _SECRETS_IN_TEXT, REDACTED, redact, redact_text

SECRET = "S3cr3t-Value-0123456789"


@pytest.mark.parametrize(
    "text",
    [
        f"connecting to postgres://admin:{SECRET}@db:5432/acme",
        f"mongodb+srv://u:{SECRET}@cluster/x?w=majority",
        f"Authorization: Bearer {SECRET}",
        f"headers {{'Authorization': 'Bearer {SECRET}'}}",
        f"GET /reset?token={SECRET}&next=/",
        f"password='{SECRET}'",
        f'{{"password": "{SECRET}"}}',
        f"{{'sessionid': '{SECRET}', 'x': 1}}",
        f"/confirm?key={SECRET}",
        f"api_key: {SECRET}",
        f"the token tnt_{SECRET} was used",
        "/accounts/password/reset/key/abc-d1x9k2-0123456789abcdef0123456789abcdef/",
        "/signin/0123456789abcdefABCDEFghijklmnopqrstuv",
        "signed MTIz:1tXyZa:0123456789abcdefghijklmnopqrstuvwxyz0123456",
    ],
)
def test_secrets_are_taken_out_of_text(text: str) -> None:
    cleaned = redact_text(text)
    assert REDACTED in cleaned
    assert SECRET not in cleaned
    assert "0123456789abcdef" not in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "tenant_created",
        "/members/0198c1a4-aaaa-7bbb-8ccc-123456789abc",
        "http://localhost:8000/activity?q=invited&limit=50",
        "no connection of pool 'eu1' came free for acme in 1.00 s",
        "2026-11-22T08:18:21.991875Z",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "name", ["password", "Authorization", "api_token", "new_password", "cookie", "SECRET", "credentials"]
)
def test_a_fact_with_a_secret_name_is_not_written(name: str) -> None:
    event: dict[str, Any] = {"event": "x", name: "whatever", "nested": {name: ["a", "b"]}}
    assert redact(None, "info", event) == {"event": "x", name: REDACTED, "nested": {name: REDACTED}}


def test_names_of_harmless_facts_and_numbers_stay() -> None:
    event: dict[str, Any] = {
        "event": "x",
        "token_id": "abc",
        "token_prefix": "tnt_ab",
        "count": 3,
        "ok": True,
        "none": None,
    }
    assert redact(None, "info", dict(event)) == event


@given(st.text(st.sampled_from("tnt_aZ0f9-.+/<>:=?& Bearer token"), max_size=60) | st.from_regex(_HARMLESS_TEXT))
@example("tnt_12345678")
@example("0123456-0123456789abcdef0123456789abcdef")
@example("/0123456789abcdefABCD")
def test_what_passes_as_harmless_holds_nothing_that_would_be_taken_out(text: str) -> None:
    if _HARMLESS_TEXT.match(text):
        assert not any(pattern.search(text) for pattern, _ in _SECRETS_IN_TEXT)

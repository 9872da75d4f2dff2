"""What `doctor` says of a server's version. Only Postgres 18 can run here, so the answers of others are given."""

from __future__ import annotations

import pytest

from tenants.doctor.postgres import _version


@pytest.mark.parametrize(
    ("major", "state", "advice"),
    [(18, "ok", ""), (17, "warning", "tested with Postgres 18"), (16, "failed", "older one than Postgres 17")],
)
def test_a_server_that_would_refuse_every_connection_is_named(major: int, state: str, advice: str) -> None:
    (finding,) = _version("server local", {"major": major, "version": f"{major}.1"})
    assert finding.state == state
    assert advice in finding.advice

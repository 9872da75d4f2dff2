"""Every answer has a request id: the client's when it is sane, else a new UUIDv7."""

from __future__ import annotations

from uuid import UUID

import pytest

from tenants.request_id import accepted_request_id


@pytest.mark.parametrize("sent", ["0198c1a4-aaaa-7bbb-8ccc-123456789abc", "trace.42_x", "A" * 64])
def test_a_sane_one_is_kept(sent: str) -> None:
    assert accepted_request_id(sent) == sent


@pytest.mark.parametrize(
    "sent", [None, "", "short", "A" * 65, "line\nbreak-here", "with space in it", "<script>x</script>", "é" * 10]
)
def test_anything_else_becomes_a_new_uuid7(sent: str | None) -> None:
    assert UUID(accepted_request_id(sent)).version == 7

"""What accounts puts into a tenant's archive: people and invitations, without hashes of passwords and secrets."""

from __future__ import annotations

from collections.abc import Iterator

from accounts.exports import member_blocks
from accounts.models import Invitation
from activity.archive.parts import Entry, ndjson


def members_part() -> Iterator[Entry]:
    """Members, as their export writes them."""
    yield Entry("members.ndjson", (block for block, _ in member_blocks("ndjson")))


def invitations_part() -> Iterator[Entry]:
    """Invitations, open, accepted and revoked."""
    shown = ("id", "email", "role", "invited_by", "created_at", "expires_at", "accepted_at", "revoked_at")
    yield ndjson("invitations.ndjson", Invitation.objects.order_by("created_at", "id").values(*shown))

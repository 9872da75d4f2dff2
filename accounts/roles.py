"""Who may do what: a table of roles and verbs, and the scopes that narrow a token."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from django.db import models


class Role(models.TextChoices):
    """What a member is in the organisation, from all rights to reading alone."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    VIEWER = "viewer"


READS: Final = frozenset(
    {
        "tenant.read",
        "members.read",
        "activity.read",
        "jobs.read",
        "invitations.read",
        "tokens.read",
        "webhooks.read",
        "usage.read",
    }
)
WRITES: Final = frozenset(
    {
        "tenant.write",
        "members.write",
        "activity.write",
        "activity.erase",
        "jobs.write",
        "invitations.write",
        "tokens.write",
        "webhooks.write",
        "profile.write",
    }
)
# All of the organisation in one file: more than reading, so neither the scope `read` nor `write` has it.
VERBS: Final = READS | WRITES | {"tenant.archive"}

# An invitation's address is somebody's, and a webhook's may hold a secret; usage is for those who can do something about it.
_SHARED_READS = READS - {"invitations.read", "webhooks.read", "usage.read"}

PERMISSIONS: Final[dict[str, frozenset[str]]] = {
    Role.OWNER: VERBS,
    Role.ADMIN: VERBS,
    Role.MEMBER: _SHARED_READS | {"tokens.write", "profile.write"},
    Role.VIEWER: _SHARED_READS | {"profile.write"},
}

# A token can do what both its scopes and its user's role allow.
SCOPES: Final[dict[str, frozenset[str]]] = {
    "*": VERBS,
    "read": READS,
    "write": WRITES,
    **{verb: frozenset({verb}) for verb in VERBS},
}


def verbs_of_role(role: str) -> frozenset[str]:
    """All verbs of a role; none for a role that isn't known."""
    return PERMISSIONS.get(role, frozenset())


def verbs_of_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """All verbs that the scopes name together; a scope that isn't known names none."""
    return frozenset().union(*(SCOPES.get(scope, frozenset()) for scope in scopes))


def may_manage(actor_role: str, subject_role: str) -> bool:
    """Whether a member of `actor_role` may change, make or remove one of `subject_role`: an admin can't touch owners."""
    if actor_role == Role.OWNER:
        return True
    return actor_role == Role.ADMIN and subject_role != Role.OWNER

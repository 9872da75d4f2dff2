"""Reading members, invitations and tokens."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import F, Q, QuerySet

from accounts.errors import NotFound
from accounts.models import ApiToken, Invitation, User
from tenants.db.prepared import Param, prepared
from tenants.pages import Page, after_place, keyset_cut, keyset_page, place_of

MAX_QUERY = 200


def members(*, q: str = "", role: str = "") -> QuerySet[User]:
    """Members whose name or e-mail address holds `q` (without case) and who have the role, if one is given."""
    return _members(_clean_query(q), role)


def _clean_query(q: str) -> str:
    return q.strip()[:MAX_QUERY].replace("\0", "")


def _members(q: str | Param, role: str | Param) -> QuerySet[User]:
    found = User.objects.all()
    if q:
        found = found.filter(Q(email__icontains=q) | Q(name__icontains=q))
    if role:
        found = found.filter(role=role)
    return found


def member_page(*, q: str = "", role: str = "", limit: int = 50, cursor: str | None = None) -> Page[User]:
    """A page of members, oldest first. Raises BadCursor."""
    return keyset_page(members(q=q, role=role), limit=limit, cursor=cursor)


def member_rows(*, q: str = "", role: str = "", limit: int = 50, cursor: str | None = None) -> Page[dict[str, Any]]:
    """The same page as rows of what the API shows of a member, by a prepared query. Raises BadCursor."""
    q = _clean_query(q)
    moment, last = place_of(cursor) if cursor else (None, None)
    found = _member_rows(limit + 1, q=bool(q), role=bool(role), goes_on=bool(cursor))
    rows = found.dicts(q=q, role=role, moment=moment, last=last)
    return keyset_cut(rows, limit, lambda row: (row["created_at"], row["id"]))


@prepared
def _member_rows(limit: int, *, q: bool, role: bool, goes_on: bool) -> QuerySet[User, Any]:
    found = _members(Param("q") if q else "", Param("role") if role else "")
    if goes_on:
        found = after_place(found, Param("moment"), Param("last"))
    shown = found.values("id", "email", "name", "role", "is_active", "created_at", last_login_at=F("last_login"))
    return shown.order_by("created_at", "id")[:limit]


def member_get(member_id: UUID) -> User:
    """A member. Raises NotFound."""
    member = User.objects.filter(pk=member_id).first()
    if member is None:
        raise NotFound("member")
    return member


def invitation_page(*, limit: int = 50, cursor: str | None = None) -> Page[Invitation]:
    """A page of the invitations that can still be accepted, oldest first. Raises BadCursor."""
    return keyset_page(invitations(), limit=limit, cursor=cursor)


def invitations() -> QuerySet[Invitation]:
    """Invitations that were neither accepted nor revoked; expired ones among them."""
    return Invitation.objects.select_related("invited_by").filter(accepted_at=None, revoked_at=None)


def invitation_get(invitation_id: UUID) -> Invitation:
    """An invitation that is open. Raises NotFound."""
    invitation = invitations().filter(pk=invitation_id).first()
    if invitation is None:
        raise NotFound("invitation")
    return invitation


def token_page(*, user: User, limit: int = 50, cursor: str | None = None) -> Page[ApiToken]:
    """A page of the user's own tokens that aren't revoked, oldest first. Raises BadCursor."""
    return keyset_page(tokens(user=user), limit=limit, cursor=cursor)


def tokens(*, user: User) -> QuerySet[ApiToken]:
    """The user's own tokens that aren't revoked; expired ones among them."""
    return ApiToken.objects.filter(user=user, revoked_at=None)


def token_get(*, user: User, token_id: UUID) -> ApiToken:
    """One of the user's own tokens. Raises NotFound, for others' tokens too."""
    token = tokens(user=user).filter(pk=token_id).first()
    if token is None:
        raise NotFound("token")
    return token

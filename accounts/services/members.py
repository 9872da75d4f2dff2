"""What can be done with members. Each change and its event commit together."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from accounts import events
from accounts.errors import EmailTaken, LastOwner, OwnersOnly
from accounts.models import ApiToken, User
from accounts.roles import Role, may_manage
from accounts.services import room
from accounts.validation import clean_email, clean_name, clean_password
from activity import outbox

_OWNERS_LOCK = int.from_bytes(b"owners", "big")


def member_create(
    *, by: User | None, email: str, name: str = "", role: str = Role.MEMBER, password: str | None = None
) -> User:
    """A new member. Without a password they choose one by the link of "Forgot your password?".

    `by` is the acting member, None for the system itself. Raises InvalidField, EmailTaken, OwnersOnly and PlanLimitReached.
    """
    _check_may_manage(by, role)
    email, name = clean_email(email), clean_name(name)
    user = User(email=email, name=name, role=role)
    if password is not None:
        clean_password(password, user)
    user.password = make_password(password)
    with transaction.atomic():
        room.room_take()
        _insert(user)
        outbox.record(events.MemberCreated.of(user, email=user.email, role=user.role))
    return user


def member_update(*, by: User | None, member: User, changes: dict[str, Any]) -> User:
    """Change `name`, `role` and `is_active` of a member, whichever `changes` holds, in one transaction.

    Raises InvalidField, OwnersOnly and LastOwner.
    """
    with transaction.atomic():
        member = _locked(member)
        if "name" in changes:
            member_rename(by=by, member=member, name=changes["name"])
        if "role" in changes:
            member_change_role(by=by, member=member, role=changes["role"])
        if changes.get("is_active") is True:
            member_reactivate(by=by, member=member)
        if changes.get("is_active") is False:
            member_deactivate(by=by, member=member)
    return member


def member_rename(*, by: User | None, member: User, name: str) -> User:
    """Give a member another name; everybody may rename themselves. Raises InvalidField and OwnersOnly."""
    name = clean_name(name)
    with transaction.atomic():
        member = _locked(member)
        if by is None or by.pk != member.pk:
            _check_may_manage(by, member.role)
        if name != member.name:
            former, member.name = member.name, name
            member.save(update_fields=["name"])
            outbox.record(events.MemberUpdated.of(member, changes={"name": [former, name]}))
    return member


def member_change_role(*, by: User | None, member: User, role: str) -> User:
    """Give a member another role; it counts from their next request on. Raises OwnersOnly and LastOwner."""
    with transaction.atomic():
        member = _locked(member)
        _check_may_manage(by, member.role, role)
        if role != member.role:
            if member.role == Role.OWNER:
                _check_not_last_owner(member)
            former, member.role = member.role, role
            member.save(update_fields=["role"])
            outbox.record(events.MemberRoleChanged.of(member, former=former, role=role))
    return member


def member_deactivate(*, by: User | None, member: User) -> User:
    """Take all rights from a member and keep them in the list: sessions and tokens end with this transaction.

    Raises OwnersOnly and LastOwner.
    """
    with transaction.atomic():
        member = _locked(member)
        _check_may_manage(by, member.role)
        if member.is_active:
            if member.role == Role.OWNER:
                _check_not_last_owner(member)
            member.is_active = False
            member.save(update_fields=["is_active"])
            sessions_end(member)
            revoked = ApiToken.objects.filter(user=member, revoked_at=None).update(revoked_at=timezone.now())
            outbox.record(events.MemberDeactivated.of(member, tokens_revoked=revoked))
    return member


def member_reactivate(*, by: User | None, member: User) -> User:
    """Let a deactivated member sign in again. Former sessions and tokens stay ended. Raises OwnersOnly."""
    with transaction.atomic():
        member = _locked(member)
        _check_may_manage(by, member.role)
        if not member.is_active:
            member.is_active = True
            member.save(update_fields=["is_active"])
            outbox.record(events.MemberReactivated.of(member))
    return member


def member_remove(*, by: User | None, member: User) -> None:
    """Delete a member with their tokens; what they did stays in the activity log. Raises OwnersOnly and LastOwner."""
    with transaction.atomic():
        member = _locked(member)
        _check_may_manage(by, member.role)
        if member.role == Role.OWNER and member.is_active:
            _check_not_last_owner(member)
        event = events.MemberRemoved.of(member, email=member.email, role=member.role)
        member.delete()
        outbox.record(event)


def sessions_end(user: User) -> None:
    """End all sessions of a user: theirs carry the former `session_epoch` in their hash."""
    User.objects.filter(pk=user.pk).update(session_epoch=F("session_epoch") + 1)
    user.refresh_from_db(fields=["session_epoch"])


def _insert(user: User) -> None:
    try:
        with transaction.atomic():  # a savepoint: the caller's transaction stays usable after a refusal
            user.save(force_insert=True)
    except IntegrityError as error:
        if "user_email_unique" in str(error):
            raise EmailTaken() from None
        raise


def _locked(member: User) -> User:
    """The member's row as it is now, locked: what is decided from it holds until the commit."""
    fresh = User.objects.select_for_update().get(pk=member.pk)
    for field in ("name", "role", "is_active"):
        setattr(member, field, getattr(fresh, field))
    return member


def _check_may_manage(by: User | None, *roles: str) -> None:
    if by is not None and not all(may_manage(by.role, role) for role in roles):
        raise OwnersOnly()


def _check_not_last_owner(member: User) -> None:
    """Raises LastOwner. Two owners who demote each other take turns here, and the second one sees what the first one did.

    It isn't done by locking the owners' rows: each of the two holds their victim's row already, so that would be a deadlock.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_OWNERS_LOCK])
    if not User.objects.using("default").filter(role=Role.OWNER, is_active=True).exclude(pk=member.pk).exists():
        raise LastOwner()

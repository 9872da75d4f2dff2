"""What members do with their own account."""

from __future__ import annotations

from django.contrib.auth.hashers import make_password
from django.db import transaction

from accounts import events
from accounts.errors import InvalidField
from accounts.models import User
from accounts.services.members import member_rename
from accounts.validation import clean_password
from activity import outbox


def profile_update(*, user: User, name: str) -> User:
    """Change one's own name. Raises InvalidField."""
    return member_rename(by=user, member=user, name=name)


def password_change(*, user: User, former: str, password: str) -> User:
    """Set another password, given the former one. All other sessions end, since theirs carry the former password's hash.

    Raises InvalidField. The caller's own session goes on by `update_session_auth_hash`.
    """
    if not user.check_password(former):
        raise InvalidField("former", "This isn't your password.")
    return password_set(user=user, password=password)


def password_set(*, user: User, password: str) -> User:
    """Set a password without asking for the former one (reset link, operators). Raises InvalidField."""
    clean_password(password, user)
    hashed = make_password(password)
    with transaction.atomic():
        user.password = hashed
        user.save(update_fields=["password"])
        outbox.record(events.MemberUpdated.of(user, changes={"password": "changed"}))
    return user

"""Who calls a native route of `stream` by a session's cookie: Django's sessions and accounts.backends, for an event loop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from accounts.auth import Caller, caller_of
from accounts.models import User
from tenants.db import aio


async def authenticate(session_key: str) -> Caller | None:
    """The caller of a session of the active tenant (settings.TENANTS_NATIVE_SESSIONS), or None. Two round trips to the primary.

    For what only reads: no CSRF token is asked for.
    """
    user = (await users_of([session_key])).get(session_key)
    return None if user is None else _caller(user, session_key)


async def users_of(session_keys: Iterable[str]) -> dict[str, User]:
    """Who is signed in by each of these sessions; those that have ended, or are nobody's any more, are left out."""
    keys = {key for key in session_keys if "\0" not in key}
    good = Session.objects.using("default").filter(session_key__in=keys, expire_date__gt=timezone.now())
    found = good.values_list("session_key", "session_data")
    contents = {key: SessionStore().decode(data) for key, data in await aio.fetch(found)}
    ids = {key: _user_id(content) for key, content in contents.items()}
    people = User.objects.using("default").filter(
        pk__in={user_id for user_id in ids.values() if user_id}, is_active=True
    )
    by_id: dict[UUID | None, User] = {user.pk: user for user in await aio.fetch(people)}
    users: dict[str, User] = {}
    for key, content in contents.items():
        user = by_id.get(ids[key])
        if user is not None and _is_of(content, user):
            users[key] = user
    return users


def _caller(user: User, session_key: str) -> Caller:
    caller = caller_of(user)
    return Caller(caller.user, None, caller.verbs, session_key)


def _user_id(content: dict[str, Any]) -> UUID | None:
    if content.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return None
    try:
        return UUID(str(content.get(SESSION_KEY)))
    except ValueError:
        return None


def _is_of(content: dict[str, Any], user: User) -> bool:
    """Whether the session began with the password and the epoch that the user still has."""
    sent = str(content.get(HASH_SESSION_KEY, ""))
    return any(
        constant_time_compare(sent, known)
        for known in (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())
    )

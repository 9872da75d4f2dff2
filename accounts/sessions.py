"""Signing in and out leaves events, whatever way it happens (pages, admin, single-use links)."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import transaction
from django.http import HttpRequest

from accounts import events
from accounts.models import User
from accounts.recording import record_as, recording_as
from activity import outbox


def connect() -> None:
    """Listen to Django's signals of authentication; called once, when the apps are ready."""
    user_logged_in.connect(signed_in, dispatch_uid="accounts.signed_in")
    user_logged_out.connect(signed_out, dispatch_uid="accounts.signed_out")
    user_login_failed.connect(sign_in_failed, dispatch_uid="accounts.sign_in_failed")


def signed_in(sender: Any, request: HttpRequest | None = None, user: User | None = None, **kwargs: Any) -> None:
    """The session and its event commit together."""
    if user is None or not isinstance(user, User):
        return
    record_as(user)
    with transaction.atomic():
        if request is not None:
            request.session.save()
        outbox.record(events.SessionSignedIn.of(user))


def signed_out(sender: Any, request: HttpRequest | None = None, user: User | None = None, **kwargs: Any) -> None:
    """Sent before the session is deleted; nobody signing out is nothing."""
    if user is None or not isinstance(user, User):
        return
    with recording_as(user), transaction.atomic():
        outbox.record(events.SessionSignedOut.of(user))


def sign_in_failed(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    """A failure is told with the address that was tried; past the limit of attempts there is none, so a flood can't fill the log."""
    if getattr(request, "sign_in_limited", False):
        return
    address = str(credentials.get("email") or credentials.get("username") or "")[:254].replace("\0", "")
    user = User.objects.by_email(address) if address else None
    with transaction.atomic():
        outbox.record(events.SessionSignInFailed.of(user, email=address))

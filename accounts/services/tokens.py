"""API tokens: made, shown once, revoked, and recognised."""

from __future__ import annotations

from datetime import datetime

import structlog
from django.db import DatabaseError, connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts import events
from accounts.errors import InvalidField, NotFound
from accounts.models import ApiToken, User
from accounts.roles import verbs_of_scopes
from accounts.secret_tokens import hash_secret, new_api_token
from accounts.validation import clean_expiry, clean_scopes, clean_text
from activity import outbox
from tenants.db.prepared import Param, prepared

log = structlog.get_logger(__name__)

PREFIX_LENGTH = 12


def token_create(
    *,
    user: User,
    name: str,
    scopes: list[str] | None = None,
    expires_at: datetime | None = None,
    asked_by: ApiToken | None = None,
) -> tuple[ApiToken, str]:
    """A token of the user and its plain text, which is known now and never again. No scopes means all that the user may do.

    `asked_by` is the token that asks, if one does: it can't make a mightier one. Raises InvalidField.
    """
    scopes = clean_scopes(["*"] if scopes is None else scopes)
    if asked_by is not None and not verbs_of_scopes(scopes) <= verbs_of_scopes(asked_by.scopes):
        raise InvalidField("scopes", "A token can't make one that may do more than itself.")
    plain = new_api_token()
    token = ApiToken(
        user=user,
        name=clean_text("name", name, max_length=100, required=True),
        prefix=plain[:PREFIX_LENGTH],
        token_hash=hash_secret(plain),
        scopes=scopes,
        expires_at=clean_expiry(expires_at),
    )
    with transaction.atomic():
        token.save(force_insert=True)
        outbox.record(events.TokenCreated.of(token, prefix=token.prefix, scopes=scopes))
    return token, plain


def token_revoke(*, token: ApiToken) -> ApiToken:
    """End a token: requests that come after this commit are refused. Raises NotFound when it has ended already."""
    with transaction.atomic():
        now = timezone.now()
        if not ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=now):
            raise NotFound("token")
        token.revoked_at = now
        outbox.record(events.TokenRevoked.of(token, prefix=token.prefix))
    return token


def token_authenticate(plain: str) -> ApiToken | None:
    """The token with its user, or None when it is unknown, revoked, expired, or its user is inactive.

    Read from the primary, so that a right that was taken away is gone with the commit that took it.
    """
    now = timezone.now()
    found = _usable_token().instances(using="default", token_hash=hash_secret(plain), now=now)
    if not found:
        return None
    token = found[0]
    if token.last_used_at is None or (now - token.last_used_at).total_seconds() >= 60:
        _touch(token)
    return token


@prepared
def _usable_token() -> QuerySet[ApiToken]:
    return ApiToken.objects.select_related("user").filter(
        Q(expires_at=None) | Q(expires_at__gt=Param("now")),
        token_hash=Param("token_hash"),
        revoked_at=None,
        user__is_active=True,
    )


def _touch(token: ApiToken) -> None:
    """Note the use at most once a minute. Raw, so that it doesn't count as a write and pin the request to the primary."""
    statement = (
        "UPDATE accounts_apitoken SET last_used_at = now() "
        "WHERE id = %s AND (last_used_at IS NULL OR last_used_at < now() - interval '60 seconds')"
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, [token.pk])
    except DatabaseError as error:  # a fence or a standby refuses writes; reading must go on
        log.info("token_touch_refused", error=type(error).__name__)

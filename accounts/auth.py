"""Who calls: an API token, or a session with its CSRF token; and what they may do.

Tokens, users and roles are read from the primary by each request, so that a right that is taken away ends with that commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from django.conf import settings
from django.http import HttpRequest
from ninja.errors import AuthenticationError, HttpError
from ninja.security import APIKeyCookie, HttpBearer
from ninja.utils import check_csrf

from accounts import ratelimit
from accounts.errors import NotAllowed, RateLimited
from accounts.models import ApiToken, User
from accounts.recording import record_as
from accounts.roles import VERBS, verbs_of_role, verbs_of_scopes
from accounts.services.tokens import token_authenticate
from tenants import usage
from tenants.context import current
from tenants.refs import ControlRef


@dataclass(frozen=True, slots=True)
class Caller:
    """A user and what they may do by this request: the verbs of their role, narrowed by the token's scopes."""

    user: User
    token: ApiToken | None
    verbs: frozenset[str]
    session_key: str | None = None  # where a session says who it is, and the answer lasts (accounts.native_sessions)

    def may(self, verb: str) -> bool:
        """Whether the verb is allowed."""
        return verb in self.verbs

    def require(self, verb: str) -> User:
        """The user, when the verb is allowed. Raises NotAllowed."""
        if verb not in self.verbs:
            raise NotAllowed(verb)
        return self.user


def caller_of(user: User, token: ApiToken | None = None) -> Caller:
    """The caller that a user is here: a member by their role; in control an operator (staff) has all verbs, others none."""
    if isinstance(current(), ControlRef):
        verbs = VERBS if user.is_staff else frozenset()
    else:
        verbs = verbs_of_role(user.role)
    return Caller(user, token, verbs if token is None else verbs & verbs_of_scopes(token.scopes))


def authenticate(request: HttpRequest) -> Caller | None:
    """The caller of an API request, or None for nobody; looked up once a request.

    With an Authorization header only that counts. Raises AuthenticationError for one that isn't valid, RateLimited, PlanLimitReached when
    the day's requests are used up, and HttpError 403 for a session without its CSRF token.
    """
    known: Caller | None = getattr(request, "_caller", None)
    if known is None:
        header = request.headers.get("Authorization")
        known = _by_session(request) if header is None else _by_bearer(header)
        cast(Any, request)._caller = known
        if known is not None:
            record_as(known.user, source="api")
            # What makes room, and what tells how much is used, is served in any case.
            is_always_served = request.method == "DELETE" or request.path.startswith("/api/v1/usage")
            usage.take_request(may_refuse=not is_always_served)
    return known


def _by_bearer(header: str) -> Caller:
    scheme, _, secret = header.partition(" ")
    token = None
    if scheme.lower() == "bearer":
        secret = secret.strip()
        settle = ratelimit.ask_for_token(secret)
        token = token_authenticate(secret)
        settle()
    if token is None:
        raise AuthenticationError(message="The token is not valid: it is unknown, expired or revoked.")
    return caller_of(token.user, token)


def _by_session(request: HttpRequest) -> Caller | None:
    if settings.SESSION_COOKIE_NAME not in request.COOKIES or not request.user.is_authenticated:
        return None
    if check_csrf(request) is not None:
        raise HttpError(403, "The CSRF token is missing or wrong; send it as X-CSRFToken.")
    return caller_of(request.user)


class TokenAuth(HttpBearer):
    """`Authorization: Bearer <token>`."""

    def __call__(self, request: HttpRequest) -> Caller | None:
        return authenticate(request) if "Authorization" in request.headers else None

    def authenticate(self, request: HttpRequest, token: str) -> Caller | None:
        return authenticate(request)


class SessionAuth(APIKeyCookie):
    """The session cookie of the pages, with CSRF for what isn't safe."""

    param_name = settings.SESSION_COOKIE_NAME

    def __call__(self, request: HttpRequest) -> Caller | None:
        return authenticate(request)

    def authenticate(self, request: HttpRequest, key: str | None) -> Caller | None:
        return authenticate(request)


AUTH = [TokenAuth(), SessionAuth()]


def is_operator(request: HttpRequest) -> bool:
    """Whether the request carries an operator's token, for what isn't the API's (settings.TENANTS_OPERATOR_CHECK)."""
    if "Authorization" not in request.headers or not isinstance(current(), ControlRef):
        return False
    try:
        caller = authenticate(request)
    except (AuthenticationError, HttpError, RateLimited):
        return False
    return caller is not None and caller.user.is_staff

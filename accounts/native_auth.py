"""Who calls a native route of `stream`: accounts.auth for an event loop. An API token, read from the primary by each request."""

from __future__ import annotations

import asyncio
import math
from weakref import WeakKeyDictionary

import structlog
from django.conf import settings
from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

from accounts import ratelimit
from accounts.auth import Caller, caller_of
from accounts.errors import RateLimited, TokenNotValid
from accounts.models import ApiToken
from accounts.secret_tokens import hash_secret
from tenants.db import aio
from tenants.ids import new_id
from tenants.valkey import MAX_CONNECTIONS, SOCKET_OPTIONS

log = structlog.get_logger(__name__)

_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, Redis] = WeakKeyDictionary()


async def authenticate(authorization: str) -> Caller:
    """The caller of an Authorization header (settings.TENANTS_NATIVE_AUTHENTICATION). One round trip to the primary.

    Raises TokenNotValid and RateLimited.
    """
    scheme, _, secret = authorization.partition(" ")
    secret = secret.strip()
    token = await _token_of(secret) if scheme.lower() == "bearer" else None
    if token is None:
        raise TokenNotValid()
    await _take_for_token(secret)
    return caller_of(token.user, token)


async def _token_of(plain: str) -> ApiToken | None:
    now = timezone.now()
    token = await aio.fetch_one(
        ApiToken.objects.using("default")
        .select_related("user")
        .filter(Q(expires_at=None) | Q(expires_at__gt=now), token_hash=hash_secret(plain), revoked_at=None)
    )
    if token is None or not token.user.is_active:
        return None
    if token.last_used_at is None or (now - token.last_used_at).total_seconds() >= 60:
        await _touch(token)
    return token


async def _touch(token: ApiToken) -> None:
    """Note the use at most once a minute."""
    statement = (
        "UPDATE accounts_apitoken SET last_used_at = now() "
        "WHERE id = %s AND (last_used_at IS NULL OR last_used_at < now() - interval '60 seconds')"
    )
    try:
        await aio.execute(statement, [token.pk])
    except DatabaseError as error:  # a fence or a standby refuses writes; reading must go on
        log.info("token_touch_refused", error=type(error).__name__)


async def _take_for_token(secret: str) -> None:
    """One request of an API token against RATE_LIMIT, if that is set; counted together with those of `web`."""
    if not settings.RATE_LIMIT:
        return
    rate = ratelimit.parse_rate(settings.RATE_LIMIT)
    script = _client().register_script(ratelimit._TAKE.text)
    keys = [ratelimit._key("token", secret)]
    arguments: list[int | str] = [rate.limit, rate.seconds * 1_000_000, str(new_id())]
    try:
        try:
            wait = await script(keys=keys, args=arguments)
        except RedisError:  # once more: the use has its own id, so asking twice doesn't count twice
            wait = await script(keys=keys, args=arguments)
    except RedisError as error:
        log.warning("rate_limit_unavailable", limit="token", error=type(error).__name__)
        return
    if int(wait):
        raise RateLimited(retry_after=max(1, math.ceil(int(wait) / 1_000_000)))


def _client() -> Redis:
    """The running loop's client."""
    loop = asyncio.get_running_loop()
    client = _clients.get(loop)
    if client is None:
        pool = BlockingConnectionPool.from_url(
            settings.REDIS_URL, max_connections=MAX_CONNECTIONS, timeout=1, **SOCKET_OPTIONS
        )
        client = _clients[loop] = Redis(connection_pool=pool)
    return client


async def close() -> None:
    """Close the running loop's client, at the end of the process."""
    client = _clients.pop(asyncio.get_running_loop(), None)
    if client is not None:
        await client.aclose()
        await client.connection_pool.disconnect()

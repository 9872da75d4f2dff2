"""The cache: every key begins with the active tenant's id, and Valkey's absence is a miss, never an error."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, wraps
from typing import Any

import redis
import structlog
from django.core.cache.backends.redis import RedisCache

from tenants import context
from tenants.errors import NoTenant
from tenants.valkey import MAX_CONNECTIONS, SOCKET_OPTIONS, redis_client

log = structlog.get_logger(__name__)


def key(name: str) -> str:
    """`name` within the active tenant, for keys used with `redis_client`. Raises NoTenant when nobody is active."""
    ref = context.active()
    if ref is None:
        raise NoTenant("A cache key")
    return f"{ref.id}:{name}"


def _or_miss(method: Callable[..., Any], missed: Any) -> Callable[..., Any]:
    @wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except redis.RedisError as error:
            log.warning("cache_unavailable", operation=method.__name__, error=type(error).__name__)
            return missed(args, kwargs) if callable(missed) else missed

    return guarded


def _default(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[1] if len(args) > 1 else kwargs.get("default")


_clients: dict[tuple[str, ...], Any] = {}


class TenantCache(RedisCache):
    """Django's Redis cache for many tenants. The id has a fixed form, so no key of one can spell a key of another."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        sized = {"pool_class": redis.BlockingConnectionPool, "max_connections": MAX_CONNECTIONS, "timeout": 1}
        params = {**params, "OPTIONS": {**SOCKET_OPTIONS, **sized, **params.get("OPTIONS", {})}}
        super().__init__(server, params)

    @cached_property
    def _cache(self) -> Any:
        # Django makes a cache for each thread; they share the connections.
        cache: Any = self
        return _clients.setdefault(tuple(cache._servers), cache._class(cache._servers, **cache._options))

    def make_key(self, name: Any, version: int | None = None) -> str:
        return key(f"cache:{self.version if version is None else version}:{name}")

    get = _or_miss(RedisCache.get, _default)
    set = _or_miss(RedisCache.set, None)
    add = _or_miss(RedisCache.add, True)
    touch = _or_miss(RedisCache.touch, False)
    delete = _or_miss(RedisCache.delete, False)
    get_many = _or_miss(RedisCache.get_many, lambda args, kwargs: {})
    set_many = _or_miss(RedisCache.set_many, lambda args, kwargs: [])
    delete_many = _or_miss(RedisCache.delete_many, None)
    has_key = _or_miss(RedisCache.has_key, False)

    def clear(self) -> None:
        """Remove the active tenant's keys, not the whole server's as the original does."""
        client = redis_client()
        for found in client.scan_iter(match=f"{key('cache:')}*", count=1000):
            client.delete(found)

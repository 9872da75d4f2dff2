"""Limits that hold across processes: a sliding window in Valkey, exact under any number of parallel requests.

Valkey being away lifts the limits (and is logged): they keep order, they don't guard a right.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from redis.exceptions import RedisError

from accounts.errors import RateLimited
from tenants import cache
from tenants.ids import new_id
from tenants.valkey import Script, redis_client

log = structlog.get_logger(__name__)

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

# Waits until it is known whether a use is allowed; raises RateLimited when it isn't.
Settle = Callable[[], None]

# The window's uses are members of a sorted set, by Valkey's own clock in microseconds: no process's clock counts.
# Answers 0 for a use that is allowed, else the microseconds until one leaves the window.
_TAKE = Script("""
local now = redis.call('TIME')
local at = now[1] * 1000000 + now[2]
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', at - window))
if redis.call('ZCARD', KEYS[1]) < limit then
  if ARGV[3] ~= '' then
    redis.call('ZADD', KEYS[1], string.format('%.0f', at), ARGV[3])
    redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000))
  end
  return 0
end
local oldest = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
return math.max(1, tonumber(oldest[2]) + window - at)
""")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many uses in a window of so many seconds."""

    limit: int
    seconds: int


@lru_cache(maxsize=64)
def parse_rate(text: str) -> Rate:
    """`100/m`, `20/10s`, `1000/h`, `5/d`. Raises ImproperlyConfigured."""
    match = re.fullmatch(r"([1-9]\d{0,6})/(\d{0,5})([smhd])", text.strip())
    if match is None or match[2] == "0":
        raise ImproperlyConfigured(f"A rate looks like 100/m, 20/10s or 1000/h, not {text!r}.")
    return Rate(int(match[1]), int(match[2] or 1) * _SECONDS[match[3]])


def take(name: str, subject: str, rate: Rate) -> str:
    """Use one of the subject's `rate`, counted within the active tenant; answers the use's id for `give_back`.

    Raises RateLimited, which says when the next one comes free; what is refused doesn't count.
    """
    use = str(new_id())
    _ask(name, subject, rate, use)()
    return use


def check(name: str, subject: str, rate: Rate) -> None:
    """Raise RateLimited if `take` would, and use nothing."""
    _ask(name, subject, rate, "")()


def give_back(name: str, subject: str, use: str) -> None:
    """Undo a `take` (an attempt that turned out to be a success)."""
    try:
        redis_client().zrem(_key(name, subject), use)
    except RedisError as error:
        log.warning("rate_limit_unavailable", limit=name, error=type(error).__name__)


def _ask(name: str, subject: str, rate: Rate, use: str) -> Settle:
    # Asked twice when a connection turns out to be dead: the use has its own id, so that doesn't count twice.
    answer = redis_client().ask(_TAKE, _key(name, subject), rate.limit, rate.seconds * 1_000_000, use)

    def settle() -> None:
        try:
            wait = int(answer())
        except RedisError as error:
            log.warning("rate_limit_unavailable", limit=name, error=type(error).__name__)
            return
        if wait:
            raise RateLimited(retry_after=math.ceil(wait / 1_000_000))

    return settle


def _key(name: str, subject: str) -> str:
    # Subjects may be personal (an address, an e-mail): only a digest leaves the process.
    return cache.key(f"rate:{name}:{hashlib.sha256(subject.encode('utf-8', 'replace')).hexdigest()[:32]}")


def ask_for_token(token: str) -> Settle:
    """Begin to count a request of an API token against RATE_LIMIT, if that is set; call the answer before anything is done.

    So Valkey and Postgres, which is asked whose token it is, answer side by side. The answer raises RateLimited.
    """
    if not settings.RATE_LIMIT:
        return _unlimited
    return _ask("token", token, parse_rate(settings.RATE_LIMIT), str(new_id()))


def _unlimited() -> None:
    """No limit is set."""


def client_ip(request: HttpRequest) -> str:
    """The client's address. X-Forwarded-For counts only as far as TRUSTED_PROXIES (a number of proxies of ours) goes."""
    address = str(request.META.get("REMOTE_ADDR", ""))
    trusted: int = settings.TRUSTED_PROXIES
    if trusted:
        hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
        if len(hops) >= trusted:
            address = hops[-trusted]
    return _normal(address)


@lru_cache(4096)
def _normal(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return ""

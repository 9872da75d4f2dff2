from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import RequestFactory
from redis import Redis

from accounts import ratelimit
from accounts.errors import RateLimited
from accounts.models import User
from accounts.ratelimit import Rate
from tenants import valkey
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import ApiOf


def _try(ref: TenantRef, rate: Rate) -> bool:
    with use_tenant(ref):
        try:
            ratelimit.take("test", "someone", rate)
        except RateLimited:
            return False
        return True


def test_of_1000_at_once_exactly_the_limit_passes(acme: TenantRef) -> None:
    with ThreadPoolExecutor(32) as pool:
        passed = list(pool.map(lambda _: _try(acme, Rate(100, 60)), range(1000)))
    assert passed.count(True) == 100


def test_the_window_slides(tenant: TenantRef) -> None:
    import time

    rate = Rate(2, 1)
    ratelimit.take("test", "someone", rate)
    time.sleep(0.6)
    ratelimit.take("test", "someone", rate)
    with pytest.raises(RateLimited) as refused:
        ratelimit.take("test", "someone", rate)
    assert refused.value.retry_after == 1
    time.sleep(0.5)  # the first one has left the window, the second one hasn't
    ratelimit.take("test", "someone", rate)
    with pytest.raises(RateLimited):
        ratelimit.take("test", "someone", rate)


def test_tenants_do_not_share_a_limit(acme: TenantRef, globex: TenantRef) -> None:
    assert [_try(acme, Rate(1, 60)), _try(acme, Rate(1, 60)), _try(globex, Rate(1, 60))] == [True, False, True]


def test_a_use_can_be_given_back(tenant: TenantRef) -> None:
    use = ratelimit.take("test", "someone", Rate(1, 60))
    ratelimit.give_back("test", "someone", use)
    ratelimit.check("test", "someone", Rate(1, 60))


def test_a_token_past_its_limit_gets_429(api: ApiOf, member: User, settings: Any) -> None:
    settings.RATE_LIMIT = "3/m"
    asking = api(member)
    answers = [asking.get("/me") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[-1]["Retry-After"]) <= 60
    assert api(member).get("/me").status_code == 200  # another token has a limit of its own


def test_with_valkey_away_nobody_is_refused(tenant: TenantRef, settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    valkey.redis_client.cache_clear()
    try:
        for _ in range(3):
            ratelimit.take("test", "someone", Rate(1, 60))
    finally:
        valkey.redis_client().close()
        valkey.redis_client.cache_clear()


@pytest.mark.parametrize(("text", "rate"), [("100/m", (100, 60)), ("20/10s", (20, 10)), ("1/h", (1, 3600))])
def test_rates_are_read(text: str, rate: tuple[int, int]) -> None:
    assert ratelimit.parse_rate(text) == Rate(*rate)


@pytest.mark.parametrize("text", ["", "100", "0/m", "100/0s", "-1/m", "100/w", "1.5/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ImproperlyConfigured):
        ratelimit.parse_rate(text)


@pytest.mark.parametrize(
    ("trusted", "forwarded", "address"),
    [
        (0, "203.0.113.9", "192.0.2.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "evil, 203.0.113.9", "203.0.113.9"),
        (2, "203.0.113.9, 198.51.100.2", "203.0.113.9"),
        (2, "203.0.113.9", "192.0.2.1"),
        (1, "nonsense", ""),
    ],
)
def test_forwarded_addresses_count_as_far_as_they_are_ours(
    settings: Any, trusted: int, forwarded: str, address: str
) -> None:
    settings.TRUSTED_PROXIES = trusted
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.1", headers={"X-Forwarded-For": forwarded})
    assert ratelimit.client_ip(request) == address


def test_keys_name_nobody(tenant: TenantRef) -> None:
    ratelimit.take("test", "mia@acme.example", Rate(1, 60))
    client: Redis = valkey.redis_client()
    assert not [key for key in client.scan_iter(match="*rate:*", count=1000) if b"mia" in key]

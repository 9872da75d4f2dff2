"""How often a sign-in may fail: by address and e-mail together, so that nobody can lock another one out, and by address alone."""

from __future__ import annotations

from collections.abc import Iterator

from django.http import HttpRequest

from accounts import ratelimit
from accounts.ratelimit import Rate

BY_EMAIL_AND_ADDRESS = Rate(10, 300)
BY_ADDRESS = Rate(100, 300)
RESETS_BY_EMAIL = Rate(5, 3600)
RESETS_BY_ADDRESS = Rate(30, 3600)

Use = tuple[str, str, str]


def attempt_check(request: HttpRequest, email: str) -> None:
    """Raises RateLimited when another failure would be too many."""
    for name, subject, rate in _limits(request, email):
        ratelimit.check(name, subject, rate)


def attempt_take(request: HttpRequest, email: str) -> list[Use]:
    """Count an attempt before the password is looked at, so that parallel ones can't slip through. Raises RateLimited."""
    return [(name, subject, ratelimit.take(name, subject, rate)) for name, subject, rate in _limits(request, email)]


def attempt_give_back(uses: list[Use]) -> None:
    """The attempt was a success: it doesn't count."""
    for name, subject, use in uses:
        ratelimit.give_back(name, subject, use)


def reset_take(request: HttpRequest, email: str) -> None:
    """Count a mail with a reset link. Raises RateLimited."""
    ratelimit.take("reset", f"{email.casefold()}", RESETS_BY_EMAIL)
    ratelimit.take("reset-ip", ratelimit.client_ip(request), RESETS_BY_ADDRESS)


def _limits(request: HttpRequest, email: str) -> Iterator[tuple[str, str, Rate]]:
    address = ratelimit.client_ip(request)
    yield "sign-in", f"{address} {email.casefold()}", BY_EMAIL_AND_ADDRESS
    yield "sign-in-ip", address, BY_ADDRESS

"""Every error that tenancy raises.

TenantryError
├── NoTenant                  code that needs a tenant ran without one
├── TenantNotFound            a host, slug or id names no tenant
├── TenantSuspended           the tenant exists and is not served
├── TenantSwitchRefused       a context was switched or left inside an open transaction
├── TransactionElsewhere      a task used the async transaction of another task
├── CrossTenant               an object or alias of one tenant was used in another
├── SlugInvalid, SlugReserved, SlugTaken
├── ProvisioningFailed        a tenant could not be made; nothing of it is left
├── PlanLimitReached          the tenant's plan has no more of something
├── TenantBusy                a tenant's state, or somebody else's work on it, doesn't allow this now
├── ServerUnavailable         a Postgres server doesn't answer its administrator
├── SubjectKeysUnavailable    control, which has the keys of personal fields, doesn't answer
└── WrongDatabase             a connection answered for another database than it was opened for

The pool's errors extend psycopg_pool's, which extend OperationalError, so that callers of Django already handle them. So do:

EndpointDown                  a Postgres that is known not to answer; nobody waits for it
NotPrimary                    a Postgres that doesn't take writes (any more), and no other one of its server does
"""

from __future__ import annotations

from typing import Any, Self

import psycopg
from django.core.exceptions import PermissionDenied
from psycopg_pool import PoolClosed as PsycopgPoolClosed
from psycopg_pool import PoolTimeout as PsycopgPoolTimeout
from psycopg_pool import TooManyRequests as PsycopgTooManyRequests


class TenantryError(Exception):
    """Base of the errors that Tenantry raises on purpose. `message` is a sentence for the person who can act on it."""

    status = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NoTenant(TenantryError):
    """Raised when something that belongs to a tenant is asked for and none is active."""

    def __init__(self, wanted: str = "A database connection") -> None:
        super().__init__(f"{wanted} needs a tenant and none is active; enter one with tenants.context.use_tenant().")
        self.wanted = wanted


class TenantNotFound(TenantryError):
    """Raised when a host, slug or id names no tenant."""

    status = 404

    def __init__(self, *, by: str, value: str) -> None:
        super().__init__(f"There is no organisation with the {by} {value!r}.")
        self.by = by
        self.value = value


class TenantSuspended(TenantryError):
    """Raised when a tenant is asked for that exists and isn't served (suspended, or on its way in or out)."""

    status = 403

    def __init__(self, *, slug: str, state: str) -> None:
        super().__init__(f"The organisation {slug!r} is {state}.")
        self.slug = slug
        self.state = state


class TenantSwitchRefused(TenantryError):
    """Raised when the active tenant would change while a transaction of the former one is open."""

    def __init__(self, *, active: str, wanted: str) -> None:
        super().__init__(f"Leave transaction.atomic() before going from {active} to {wanted}.")
        self.active = active
        self.wanted = wanted


class TransactionElsewhere(TenantryError):
    """Raised when a task that was started inside another task's `aio.transaction()` asks for a query: it would run in the midst of it."""

    def __init__(self) -> None:
        super().__init__(
            "This task was started inside another task's transaction; run the query in the task that opened it."
        )


class CrossTenant(TenantryError, ValueError):
    """Raised when an object or alias of one tenant is used in another. A ValueError, as Django's own refusals are."""

    def __init__(self, *, what: str, belongs_to: str, used_in: str) -> None:
        super().__init__(f"{what} belongs to {belongs_to} and can't be used in {used_in}.")
        self.what = what
        self.belongs_to = belongs_to
        self.used_in = used_in


class SlugInvalid(TenantryError):
    """Raised when a slug can't be a host name's label."""

    status = 422

    def __init__(self, slug: str) -> None:
        super().__init__(
            "Use 3 to 40 lower-case letters, digits and single hyphens, starting with a letter and ending with a letter or digit."
        )
        self.slug = slug


class SlugReserved(TenantryError):
    """Raised when a slug is kept for Tenantry itself."""

    status = 422

    def __init__(self, slug: str) -> None:
        super().__init__(f"The address {slug!r} is reserved; choose another.")
        self.slug = slug


class SlugTaken(TenantryError):
    """Raised when another tenant has the slug."""

    status = 409

    def __init__(self, slug: str) -> None:
        super().__init__(f"The address {slug!r} is taken; choose another.")
        self.slug = slug


class ProvisioningFailed(TenantryError):
    """Raised when a tenant couldn't be made. Whatever had been made of it is gone again."""

    status = 503

    def __init__(self, *, slug: str, step: str) -> None:
        super().__init__(f"The organisation {slug!r} could not be set up (at: {step}); nothing was kept, so try again.")
        self.slug = slug
        self.step = step


class PlanLimitReached(TenantryError, PermissionDenied):
    """Raised when a tenant's plan has no more of something: 403, or 429 with `retry_after` in seconds where the next day brings more.

    Django takes it for a PermissionDenied, so that a page which expects nothing of the sort says the sentence too.
    """

    status = 403

    def __init__(
        self, sentence: str, *, meter: str, plan: str, limit: int, used: int, retry_after: int | None = None
    ) -> None:
        super().__init__(sentence)
        self.meter = meter
        self.plan = plan
        self.limit = limit
        self.used = used
        self.retry_after = retry_after
        if retry_after is not None:
            self.status = 429

    @property
    def members(self) -> dict[str, Any]:
        """What a problem document has besides the sentence."""
        facts = {"meter": self.meter, "plan": self.plan, "limit": self.limit, "used": self.used}
        return {"type": "plan-limit", **facts}

    @classmethod
    def of_members(cls, plan: str, limit: int, used: int, *, invited: int = 0) -> Self:
        """No room for another member; `invited` have an invitation that is open."""
        who = f"{_are(used)} here" + (f" and {_are(invited)} invited" if invited else "")
        way_out = "Remove somebody or revoke an invitation" if invited else "Remove somebody"
        room = f"{limit:,} member" if limit == 1 else f"{limit:,} members"
        sentence = f"The plan {plan} has room for {room}, and {who}. {way_out}, or ask for another plan."
        return cls(sentence, meter="members", plan=plan, limit=limit, used=used)

    @classmethod
    def of_storage(cls, plan: str, limit: int, used: int, wanted: int) -> Self:
        """No room for a file of `wanted` bytes."""
        sentence = (
            f"The plan {plan} has {_megabytes(limit)} MB of storage; {_megabytes(used)} MB are used, and this takes "
            f"{_megabytes(wanted)} MB. Remove what isn't needed any more, or ask for another plan."
        )
        return cls(sentence, meter="storage_bytes", plan=plan, limit=limit, used=used)

    @classmethod
    def of_requests(cls, plan: str, limit: int, used: int, retry_after: int) -> Self:
        """The day's requests are used up."""
        sentence = (
            f"The plan {plan} has {limit:,} requests a day, and today's are used up. "
            "Go on after midnight UTC, or ask for another plan."
        )
        return cls(sentence, meter="requests", plan=plan, limit=limit, used=used, retry_after=retry_after)

    @classmethod
    def of_job_seconds(cls, plan: str, limit: int, used: float, retry_after: int) -> Self:
        """The day's seconds of jobs are used up."""
        sentence = (
            f"The plan {plan} has {limit:,} seconds a day for jobs, and {used:,.0f} were used today. "
            "Start it after midnight UTC, or ask for another plan."
        )
        return cls(sentence, meter="job_seconds", plan=plan, limit=limit, used=round(used), retry_after=retry_after)


def _are(number: int) -> str:
    return f"{number:,} {'is' if number == 1 else 'are'}"


def _megabytes(size: int) -> str:
    return f"{size / (1024 * 1024):,.1f}"


class TenantBusy(TenantryError):
    """Raised when a tenant's state doesn't allow what is asked, or somebody else is at work on its database."""

    status = 409

    def __init__(self, *, slug: str, state: str) -> None:
        super().__init__(f"The organisation {slug!r} is {state}; wait until that is done.")
        self.slug = slug
        self.state = state


class ServerUnavailable(TenantryError):
    """Raised when a Postgres server refuses its administrator's connection or doesn't answer."""

    status = 503

    def __init__(self, *, server: str, reason: str) -> None:
        super().__init__(f"The Postgres server {server!r} can't be used now: {reason}")
        self.server = server
        self.reason = reason


class SubjectKeysUnavailable(TenantryError, psycopg.OperationalError):
    """Raised when the keys of personal fields can't be had from control: nothing personal is written in clear, nor shown, without them.

    A psycopg error, so that jobs and tasks take it for a database that was away.
    """

    status = 503

    def __init__(self, reason: str) -> None:
        super().__init__("The keys of personal fields can't be reached right now. Try again in a moment.")
        self.reason = reason
        self.retry_after = 1


class WrongDatabase(TenantryError):
    """Raised when a new connection's `current_database()` isn't the one that it was opened for."""

    def __init__(self, *, wanted: str, found: str) -> None:
        super().__init__(f"A connection opened for the database {wanted!r} reached {found!r}; it was closed.")
        self.wanted = wanted
        self.found = found


class PoolTimeout(PsycopgPoolTimeout):
    """Raised when no connection came free in time."""

    def __init__(self, *, pool: str, tenant: str, waited: float, budget: int | None = None) -> None:
        why = "" if budget is None else f"; the server's budget leaves {budget} to this process"
        super().__init__(f"no connection of pool {pool!r} came free for {tenant} in {waited:.2f} s{why}")
        self.pool = pool
        self.tenant = tenant
        self.waited = waited
        self.budget = budget
        self.retry_after = 1


class TooManyRequests(PsycopgTooManyRequests):
    """Raised at once when a tenant, or the whole pool, already has as many waiting as are allowed."""

    def __init__(self, *, pool: str, tenant: str, waiting: int) -> None:
        super().__init__(f"pool {pool!r} already has {waiting} requests waiting for {tenant}")
        self.pool = pool
        self.tenant = tenant
        self.waiting = waiting
        self.retry_after = 1


class PoolClosed(PsycopgPoolClosed):
    """Raised when a connection is wanted of a pool that is draining or closed (the process is stopping)."""

    def __init__(self, *, pool: str) -> None:
        super().__init__(f"pool {pool!r} is closed")
        self.pool = pool
        self.retry_after = 1


class EndpointDown(psycopg.OperationalError):
    """Raised at once instead of connecting to a Postgres that didn't answer just now."""

    def __init__(self, *, endpoint: str) -> None:
        super().__init__(f"the Postgres {endpoint!r} doesn't answer; it is tried again within seconds")
        self.endpoint = endpoint
        self.retry_after = 3


class NotPrimary(psycopg.OperationalError):
    """Raised when the primary of a server is wanted and the one that is known as such isn't one (any more)."""

    def __init__(self, *, endpoint: str) -> None:
        super().__init__(f"the Postgres {endpoint!r} is not a primary, and no other one of its server is known to be")
        self.endpoint = endpoint
        self.retry_after = 3

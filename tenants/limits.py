"""How long a tenant's work may take in the database: by kind of process, and by the tenant's plan."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Postgres's time-outs of one session, in milliseconds; 0 is none. `transaction` exists since Postgres 17."""

    statement: int = 0
    lock: int = 0
    idle_in_transaction: int = 0
    transaction: int = 0

    def as_options(self) -> str:
        """The limits as start-up options: they hold from the first statement on, and cost no round trip."""
        names = {
            "statement_timeout": self.statement,
            "lock_timeout": self.lock,
            "idle_in_transaction_session_timeout": self.idle_in_transaction,
            "transaction_timeout": self.transaction,
        }
        return " ".join(f"-c {name}={value}" for name, value in names.items() if value)


def time_limits(process: str, plan: str = "") -> TimeLimits:
    """The limits of a kind of process (settings.TIME_LIMITS; one that isn't named there has none) for a tenant of that plan.

    The plan's share (settings.PLAN_SHARES; 1 for control and for unknown plans) scales what takes time because it is much: statements
    and transactions. Waiting for a lock, or holding one in an idle transaction, is no more right for who pays more.
    """
    seconds = settings.TIME_LIMITS.get(process)
    if seconds is None:
        return TimeLimits()
    share = settings.PLAN_SHARES.get(plan, 1.0)
    return TimeLimits(
        statement=round(1000 * share * seconds["statement"]),
        lock=round(1000 * seconds["lock"]),
        idle_in_transaction=round(1000 * seconds["idle_in_transaction"]),
        transaction=round(1000 * share * seconds["transaction"]),
    )

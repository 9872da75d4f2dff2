"""kombu's transport for Redis and Valkey, which outlives the broker's absence.

Two things of kombu 5.7 end a worker, and with it the jobs that it runs, after Valkey has gone away: putting back what it holds when the
lost connection is closed, and acknowledging over it what ends later. A message is a hint here: what isn't put back is swept for, and an
acknowledgement that fails means that a hint comes twice.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis
from redis.exceptions import ConnectionError as BrokerAway


class Channel(redis.Channel):
    """Puts nothing back, and calls a connection that is gone by its name: an error that Celery expects."""

    do_restore = False

    def _connparams(self, *args: Any, **kwargs: Any) -> Any:
        if getattr(self.connection, "client", None) is None:
            raise BrokerAway("This connection to the broker is closed.")
        return super()._connparams(*args, **kwargs)  # type: ignore[misc]  # not in the stubs


class Transport(redis.Transport):
    """settings.CELERY_BROKER_TRANSPORT."""

    Channel = Channel

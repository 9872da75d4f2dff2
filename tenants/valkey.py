"""This process's client of Valkey, and scripts that are one round trip."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import redis
from django.conf import settings
from redis.exceptions import NoScriptError, ResponseError

from tenants import clients
from tenants.clients import VALKEY

# Seconds. A cache that answers later than this is no help.
SOCKET_OPTIONS: dict[str, Any] = {"socket_connect_timeout": 0.5, "socket_timeout": 1.0, "health_check_interval": 30}
MAX_CONNECTIONS = 20


@cache
def redis_client() -> Client:
    """This process's client for what the cache interface can't say; its keys must be made by `tenants.cache.key`."""
    # Blocking: with more threads than connections, a caller waits its turn instead of taking Valkey for being away.
    pool = redis.BlockingConnectionPool.from_url(
        settings.REDIS_URL, max_connections=MAX_CONNECTIONS, timeout=1, **SOCKET_OPTIONS
    )
    return Client(connection_pool=pool)


class Client(redis.Redis):
    """redis-py's client, with a short way for scripts: they are asked for by every request.

    The pool looks at a connection before it lends one, which is a system call, and the client measures and retries around each command.
    Here a connection that died shows when it is used. There are at most as many kept connections as threads that ask at once.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._kept: list[Any] = []
        VALKEY.facts = self.facts

    def facts(self) -> dict[str, Any]:
        """How many connections the client has open, and how many of those wait for the next script."""
        pooled = sum(connection.is_connected for connection in self.connection_pool._connections)  # type: ignore[attr-defined]
        return {"connections": pooled + len(self._kept), "kept": len(self._kept)}

    def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            answer = super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except (redis.ConnectionError, redis.TimeoutError) as error:
            VALKEY.lost(error)
            raise
        VALKEY.found()
        return answer

    def run(self, script: Script, key: str, *args: str | int) -> Any:
        """The script's answer. Raises redis.RedisError; the second time, when the first connection was a dead one."""
        return self.ask(script, key, *args)()

    def ask(self, script: Script, key: str, *args: str | int) -> Callable[[], Any]:
        """Send the script. What is returned waits for the answer; meanwhile something else may be asked elsewhere."""
        first = self._send(script, key, args)

        def answer() -> Any:
            if first is not None:
                try:
                    return self._receive(first, script, key, args)
                except ResponseError:
                    raise
                except redis.RedisError:
                    pass
            self.forget_kept()  # where one died the others did, most likely
            try:
                again = self._connect()
                again.send_command("EVALSHA", script.sha, 1, key, *args)
                return self._receive(again, script, key, args)
            except (redis.ConnectionError, redis.TimeoutError) as error:
                VALKEY.lost(error)
                raise

        return answer

    def _connect(self) -> Any:
        return self.connection_pool.connection_class(**self.connection_pool.connection_kwargs)

    def _send(self, script: Script, key: str, args: tuple[str | int, ...]) -> Any:
        try:
            connection = self._kept.pop()
        except IndexError:
            connection = self._connect()
        try:
            connection.send_command("EVALSHA", script.sha, 1, key, *args)
        except redis.RedisError:
            return None
        return connection

    def _receive(self, connection: Any, script: Script, key: str, args: tuple[str | int, ...]) -> Any:
        # A connection whose answer isn't read isn't kept either: it ends with whoever drops it.
        try:
            answer = connection.read_response()
        except NoScriptError:  # Valkey was started anew
            connection.send_command("EVAL", script.text, 1, key, *args)
            answer = connection.read_response()
        self._kept.append(connection)
        VALKEY.found()
        return answer

    def forget_kept(self) -> None:
        """Close the connections that wait for the next script."""
        former, self._kept = self._kept, []  # another thread may drop them too
        for connection in former:
            connection.disconnect()

    def close(self) -> None:
        self.forget_kept()
        super().close()


class Script:
    """A Lua script that is known to Valkey by its digest. It takes one key."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode()).hexdigest()  # noqa: S324  Valkey's name of it, no protection


def close() -> None:
    """Close the process's client, if it has made one."""
    if redis_client.cache_info().currsize:
        redis_client().close()
        redis_client.cache_clear()


clients.at_end("valkey", close)
# A child must not use its parent's connections: it makes its own client.
os.register_at_fork(after_in_child=redis_client.cache_clear)

"""ASGI's types, and the table of native routes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def _always(scope: Scope) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Route:
    """Requests for a path by one of `methods` are answered by `application` when `when` says so; else Django answers.

    A part of the path in braces (`/api/v1/reports/{name}`) stands for anything but a slash: `scope["path_params"]` has what.
    """

    path: str
    application: Application
    when: Callable[[Scope], bool] = _always
    methods: frozenset[str] = field(default=frozenset({"GET", "HEAD"}))


class Routes:
    """Finds the route of a request: by its path, or by a pattern."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_path: dict[str, Route] = {}
        self._by_pattern: list[tuple[re.Pattern[str], Route]] = []
        for route in routes:
            if "{" in route.path:
                parts = re.split(r"\{(\w+)\}", route.path)  # text and names in turn
                pattern = "".join(f"(?P<{part}>[^/]+)" if n % 2 else re.escape(part) for n, part in enumerate(parts))
                self._by_pattern.append((re.compile(pattern), route))
            else:
                self._by_path[route.path] = route

    def find(self, scope: Scope) -> Route | None:
        """The route that answers, or None when Django does."""
        path: str = scope["path"]
        found = self._by_path.get(path)
        if found is None:
            for pattern, route in self._by_pattern:
                match = pattern.fullmatch(path)
                if match is not None:
                    scope["path_params"] = match.groupdict()
                    found = route
                    break
        return found if found and scope["method"] in found.methods and found.when(scope) else None

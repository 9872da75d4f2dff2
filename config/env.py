"""Readers of the environment: each variable `NAME` may come from the file named by `NAME_FILE` (a mounted secret)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from tenants.db.urls import database


def text(name: str, default: str | None = None) -> str:
    """The variable, or the content of the file that `NAME_FILE` names, or the default.

    Raises ImproperlyConfigured when there is none of them, or when the file can't be read.
    """
    path = os.environ.get(f"{name}_FILE")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE names {path}, which can't be read: {error.strerror}.") from error
    value = os.environ.get(name, default)
    if value is None:
        raise ImproperlyConfigured(f"Set {name} (or {name}_FILE, the path of a file that holds it).")
    return value


def number(name: str, default: int) -> int:
    """The variable as a whole number."""
    value = text(name, str(default))
    try:
        return int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None


def boolean(name: str, *, default: bool = False) -> bool:
    """The variable as a switch: 1, true, yes and on are on."""
    return text(name, "1" if default else "0").strip().lower() in {"1", "true", "yes", "on"}


def names(name: str) -> list[str]:
    """The variable as a list of words separated by commas."""
    return [word.strip() for word in text(name, "").split(",") if word.strip()]


def plan_numbers(name: str, default: str) -> dict[str, int]:
    """The variable as whole numbers by plan, such as `free=1000,team=50000`; a plan that isn't named has no entry."""
    value = text(name, default)
    numbers = {}
    for entry in (entry.strip() for entry in value.split(",") if entry.strip()):
        plan, _, number = entry.partition("=")
        if not plan.strip().isidentifier() or not number.strip().isdecimal():
            raise ImproperlyConfigured(f"{name} must be like free=1000,team=50000, not {value!r}.")
        numbers[plan.strip()] = int(number)
    return numbers


def tenant_servers(value: str) -> dict[str, dict[str, Any]]:
    """TENANT_SERVERS, checked: `{"name": {"primary": URL, "replicas": [URL, …]}}`."""
    try:
        servers = json.loads(value)
        for name, server in servers.items():
            database(server["primary"])
            for replica in server.setdefault("replicas", []):
                database(replica)
            if not name.isidentifier():
                raise ValueError(name)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ImproperlyConfigured(
            'TENANT_SERVERS must be JSON such as {"eu1": {"primary": "postgres://…", "replicas": ["postgres://…"]}}.'
        ) from None
    return dict(servers)

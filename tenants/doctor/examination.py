"""What `manage.py doctor` looks at: each check says what it found and, where that isn't right, what to do."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis
from django.conf import settings
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tenants import crypto
from tenants.doctor import postgres
from tenants.doctor.finding import Finding, reason

MIN_FREE = 1024**3  # bytes
MIN_SECRET = 32  # characters


def examine() -> Iterator[Finding]:
    """Every finding, in the order in which a person would set right what they say."""
    yield python()
    error = getattr(settings, "SETTINGS_ERROR", "")
    if error:
        advice = "Set it (docs/configuration.md lists all variables), or let `make up` make a development environment."
        yield Finding("settings", "failed", error, advice)
        return
    yield Finding("settings", "ok", os.environ.get("TENANTRY_SETTINGS", str(settings.SETTINGS_MODULE)))
    checks: list[Callable[[], Iterator[Finding]]] = [
        secrets,
        folders,
        postgres.control,
        postgres.servers,
        mongo,
        valkey,
    ]
    for check in checks:
        yield from check()


def python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding("python", "ok", found)
    return Finding("python", "failed", found, "Use Python 3.11, 3.12 or 3.13.")


def secrets() -> Iterator[Finding]:
    if len(str(settings.SECRET_KEY.root())) < MIN_SECRET:
        advice = "Use at least 32 random characters: sessions and links are signed with keys derived from it."
        yield Finding("SECRET_KEY", "failed", "is short", advice)
    else:
        yield Finding("SECRET_KEY", "ok", "is set")
    try:
        crypto.decrypt(crypto.encrypt(b"doctor", associated="doctor"), associated="doctor")
    except Exception as error:  # whatever is wrong with the ring is the finding
        yield Finding("CREDENTIALS_KEYS", "failed", str(error), "Make a key: openssl rand -base64 32")
    else:
        yield Finding("CREDENTIALS_KEYS", "ok", f"{len(settings.CREDENTIALS_KEYS.split(','))} in the ring")


def folders() -> Iterator[Finding]:
    for name in ("DATA_DIR", "MEDIA_ROOT", "METRICS_DIR"):
        path = Path(getattr(settings, name))
        existing = next(folder for folder in (path, *path.parents) if folder.exists())
        if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
            yield Finding(name, "ok", f"{path} is writable")
        else:
            yield Finding(
                name, "failed", f"{path} can't be written", f"Give the processes' user the right to write {existing}."
            )
    free = shutil.disk_usage(existing).free
    advice = "" if free >= MIN_FREE else "Make room: exports and uploads need it."
    yield Finding("disk", "ok" if not advice else "failed", f"{free / 1024**3:.1f} GB free", advice)
    if settings.TENANTRY_DEV or (Path(settings.STATIC_ROOT) / "staticfiles.json").exists():
        yield Finding("STATIC_ROOT", "ok", str(settings.STATIC_ROOT))
    else:
        yield Finding(
            "STATIC_ROOT", "failed", f"{settings.STATIC_ROOT} holds no collected files", "Run manage.py collectstatic."
        )


# --- MongoDB and Valkey


def mongo() -> Iterator[Finding]:
    client: MongoClient[dict[str, Any]] = MongoClient(
        settings.MONGO_URL, serverSelectionTimeoutMS=3000, connectTimeoutMS=3000
    )
    try:
        hello = client.admin.command("hello")
        version = client.server_info()["version"]
    except PyMongoError as error:
        found = reason(error).partition(", Timeout:")[0]
        yield Finding(
            "mongo", "failed", found, "Check MONGO_URL and that it runs. Until then, activity waits in Postgres."
        )
        return
    finally:
        client.close()
    if "setName" in hello:
        yield Finding("mongo", "ok", f"MongoDB {version}, replica set {hello['setName']}")
    else:
        advice = "Run it as a replica set (one member will do): majority writes and change streams need one."
        yield Finding("mongo", "failed", f"MongoDB {version} stands alone", advice)


def valkey() -> Iterator[Finding]:
    with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=3, socket_timeout=3) as client:
        try:
            server: Any = client.info()
        except redis.RedisError as error:
            yield Finding(
                "valkey",
                "failed",
                reason(error),
                "Check REDIS_URL and that it runs. Jobs are found again once it does.",
            )
            return
    version = server.get("valkey_version") or server.get("redis_version")
    yield Finding("valkey", "ok", f"Valkey {version}" if "valkey_version" in server else f"Redis {version}")
    policy = server.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield Finding(
            "valkey: maxmemory-policy", "warning", policy, "Set noeviction: the broker's messages must not be evicted."
        )

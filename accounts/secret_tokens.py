"""Random secrets that are shown once and kept as a hash."""

from __future__ import annotations

import hashlib
import secrets

API_TOKEN_PREFIX = "tnt_"  # noqa: S105  lets secret scanners know one


def new_secret() -> str:
    """256 random bits, safe in a URL."""
    return secrets.token_urlsafe(32)


def new_api_token() -> str:
    """A new API token in plain text."""
    return API_TOKEN_PREFIX + new_secret()


def hash_secret(secret: str) -> str:
    """What is kept of a secret. Plain SHA-256: 256 random bits can't be guessed, so slowness would buy nothing."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()

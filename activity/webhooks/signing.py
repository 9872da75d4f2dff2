"""Secrets and signatures in the form of Standard Webhooks, so that a receiver can check a message with any of its libraries.

`Webhook-Signature` is `v1,` and the HMAC-SHA256, in base64, of `<Webhook-Id>.<Webhook-Timestamp>.<body>` under the secret's bytes; while
two secrets are valid there are two, separated by a space.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"


def new_secret() -> str:
    """A secret of 32 random bytes, as people copy it."""
    return PREFIX + base64.b64encode(os.urandom(32)).decode()


def headers(*, message_id: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers of a message; `timestamp` is that of the attempt, in seconds."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = " ".join(f"v1,{_signature(secret, signed)}" for secret in secrets)
    return {"Webhook-Id": message_id, "Webhook-Timestamp": str(timestamp), "Webhook-Signature": signatures}


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX))
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()

"""Encryption of what must not be readable in a stolen database: AES-256-GCM with a key ring.

A blob is `version (1 byte) · length of the key's id (1 byte) · key id · nonce (12 bytes) · ciphertext and tag`. The associated data
(the tenant's id, say) is bound in, so that a blob moved to another row doesn't decrypt. NIST SP 800-38D.
"""

from __future__ import annotations

import base64
import binascii
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from tenants.errors import TenantryError

_VERSION = 1


class DecryptionFailed(TenantryError):
    """Raised when a blob doesn't decrypt: an unknown key, changed bytes, or another owner's associated data."""


@lru_cache(maxsize=8)
def _ring(value: str) -> dict[str, AESGCM]:
    ring = {}
    try:
        for entry in value.split(","):
            key_id, _, encoded = entry.strip().partition(":")
            key = base64.b64decode(encoded, validate=True)
            if not key_id or len(key) != 32:
                raise ValueError
            ring[key_id] = AESGCM(key)
    except (ValueError, binascii.Error):
        raise ImproperlyConfigured(
            "CREDENTIALS_KEYS must be id:key pairs separated by commas, each key being 32 bytes in base64; the first one encrypts."
        ) from None
    return ring


def encrypt(plaintext: bytes | str, *, associated: str) -> bytes:
    """Encrypt with the ring's first key. `associated` names the owner and must be given again to decrypt."""
    key_id, cipher = next(iter(_ring(settings.CREDENTIALS_KEYS).items()))
    data = plaintext.encode() if isinstance(plaintext, str) else plaintext
    nonce = os.urandom(12)
    name = key_id.encode()
    return bytes([_VERSION, len(name)]) + name + nonce + cipher.encrypt(nonce, data, associated.encode())


def decrypt(blob: bytes | memoryview, *, associated: str) -> bytes:
    """Decrypt what `encrypt` made for the same `associated`. Raises DecryptionFailed."""
    blob = bytes(blob)
    end_of_name = 2 + (blob[1] if len(blob) > 1 else 0)
    key_id = blob[2:end_of_name].decode(errors="replace")
    cipher = _ring(settings.CREDENTIALS_KEYS).get(key_id)
    if not blob or blob[0] != _VERSION or cipher is None:
        raise DecryptionFailed(f"The key {key_id!r} is not in CREDENTIALS_KEYS; add it back after the first one.")
    try:
        return cipher.decrypt(blob[end_of_name : end_of_name + 12], blob[end_of_name + 12 :], associated.encode())
    except InvalidTag:
        raise DecryptionFailed(
            f"A secret of {associated!r} doesn't decrypt: it was changed or belongs to another."
        ) from None

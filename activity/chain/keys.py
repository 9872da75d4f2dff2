"""The keys that sign: an Ed25519 key ring, and the public half that an auditor needs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


class KeysInvalid(ValueError):
    """Raised when a ring, or a public key, can't be read."""


class PublicKeys:
    """Public keys by their id. A key without an id stands for any."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._keys = dict(keys)

    @classmethod
    def parse(cls, values: Iterable[str]) -> PublicKeys:
        """Keys as `id:base64` or bare base64 of 32 bytes. Raises KeysInvalid."""
        keys = {}
        for value in values:
            key_id, _, encoded = value.strip().rpartition(":")
            keys[key_id] = Ed25519PublicKey.from_public_bytes(_bytes(encoded))
        if not keys:
            raise KeysInvalid("Give a public key.")
        return cls(keys)

    def texts(self) -> dict[str, str]:
        """Each key in base64, by its id."""
        return {key_id: base64.b64encode(key.public_bytes_raw()).decode() for key_id, key in self._keys.items()}

    def have_signed(self, key_id: str, signature: bytes, statement: bytes) -> bool:
        """Whether the key of that id made this signature of the statement."""
        key = self._keys.get(key_id) or self._keys.get("")
        if key is None:
            return False
        try:
            key.verify(signature, statement)
        except InvalidSignature:
            return False
        return True


class KeyRing:
    """Private keys: the first one signs, the public halves of all of them verify."""

    def __init__(self, keys: Mapping[str, Ed25519PrivateKey]) -> None:
        self._first = next(iter(keys))
        self._keys = dict(keys)
        self.public = PublicKeys({key_id: key.public_key() for key_id, key in keys.items()})

    def sign(self, statement: bytes) -> tuple[str, bytes]:
        """The id of the key, and its signature of the statement."""
        return self._first, self._keys[self._first].sign(statement)


@lru_cache(maxsize=8)
def ring(value: str) -> KeyRing:
    """The ring of `id:base64 of 32 bytes` pairs, separated by commas. Raises KeysInvalid."""
    keys = {}
    for entry in value.split(","):
        key_id, _, encoded = entry.strip().partition(":")
        if not key_id or key_id in keys:
            raise KeysInvalid("ACTIVITY_SIGNING_KEYS must be id:key pairs with ids of their own, separated by commas.")
        keys[key_id] = Ed25519PrivateKey.from_private_bytes(_bytes(encoded))
    return KeyRing(keys)


def _bytes(encoded: str) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != 32:
        raise KeysInvalid("A key must be 32 bytes in base64.")
    return key

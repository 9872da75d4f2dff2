"""A data key for each person of whom events tell, kept in control: to erase a person is to destroy theirs.

A tenant's database, its backups and the log in MongoDB hold ciphertext alone, so none of them can undo an erasure. Here a person
(`type:id`, the *subject*) is known by a digest, HMAC-SHA256 with a key that each owner has for itself, since an id may be an address.

Keys are remembered for FRESH_FOR seconds, so that a busy person costs control nothing and a destroyed key is used nowhere for longer. They
are asked for and made on a connection of their own, in autocommit: a key that is in use must not vanish with its caller's rollback, in
control's own transactions too. Who was erased gets no new key: whatever is recorded of them from then on is born erased.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, TypeVar

import psycopg
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import connections
from psycopg_pool import PoolTimeout, TooManyRequests

from tenants import crypto
from tenants.errors import SubjectKeysUnavailable
from tenants.refs import CONTROL, Ref

T = TypeVar("T")

FRESH_FOR: Final = 1.5  # seconds
MAX_REMEMBERED: Final = 20_000

# None: this person was erased.
Keys = Mapping[str, AESGCM | None]

_DIGESTS: Final = ""  # the row of the key by which an owner's digests are made

_FIND: Final = "SELECT subject, encrypted_key FROM tenants_subjectkey WHERE owner = %s AND subject = ANY(%s)"
_MAKE: Final = """
INSERT INTO tenants_subjectkey (owner, subject, encrypted_key)
SELECT %s, subject, encrypted_key FROM unnest(%s::text[], %s::bytea[]) AS made (subject, encrypted_key) ORDER BY subject
ON CONFLICT DO NOTHING
"""
# The ledger and the keys in one statement: neither is without the other. A row is left where there was none, so that no key is made later.
_DESTROY: Final = """
WITH erased AS (
    SELECT subject FROM unnest(%(subjects)s::text[]) AS erased (subject) ORDER BY subject
), destroyed AS (
    INSERT INTO tenants_subjectkey (owner, subject, encrypted_key) SELECT %(owner)s, subject, NULL FROM erased
    ON CONFLICT (owner, subject) DO UPDATE SET encrypted_key = NULL
)
INSERT INTO tenants_erasure (owner, subject, erased_by) SELECT %(owner)s, subject, %(by)s FROM erased ON CONFLICT DO NOTHING
"""
_FORGET: Final = """
WITH forgotten AS (DELETE FROM tenants_subjectkey WHERE owner = %(owner)s) DELETE FROM tenants_erasure WHERE owner = %(owner)s
"""
_FINISH: Final = """
UPDATE tenants_erasure SET finished_at = now() WHERE owner = %s AND subject = ANY(%s) AND finished_at IS NULL
"""
_LEDGER: Final = "SELECT subject FROM tenants_erasure WHERE owner = %s ORDER BY id"

_keys: OrderedDict[tuple[str, str], tuple[AESGCM | None, float]] = OrderedDict()
_digest_keys: OrderedDict[str, bytes] = OrderedDict()
_lock = threading.Lock()


def digest(ref: Ref, subject: str) -> str:
    """What stands for a person (`type:id`) of this owner wherever it is kept. Raises SubjectKeysUnavailable."""
    return hmac.new(_digest_key(ref), subject.encode(), hashlib.sha256).hexdigest()[:32]


def find(ref: Ref, subjects: Collection[str]) -> Keys:
    """The keys of those of the digests that have one, or were erased. Raises SubjectKeysUnavailable."""
    found, missing = _remembered(ref, subjects)
    if missing:
        read_at = time.monotonic()
        found |= _remember(ref, _ask(lambda connection: _read(connection, ref, missing)), read_at)
    return found


def obtain(ref: Ref, subjects: Collection[str]) -> Keys:
    """The keys of all the digests, made where there was none yet. Raises SubjectKeysUnavailable."""
    found, missing = _remembered(ref, subjects)
    if missing:
        read_at = time.monotonic()
        found |= _remember(ref, _ask(lambda connection: _made(connection, ref, missing)), read_at)
    return found


def destroy(ref: Ref, subjects: Collection[str], *, by: str) -> None:
    """Destroy the keys of these digests and enter them in the ledger; again it changes nothing.

    Other processes use what they remember for up to FRESH_FOR seconds. `by`: who erased, as type:id. Raises SubjectKeysUnavailable.
    """
    facts = {"owner": ref.id, "subjects": sorted(set(subjects)), "by": by}
    _ask(lambda connection: connection.execute(_DESTROY, facts))
    with _lock:
        for subject in subjects:
            _keys.pop((ref.id, subject), None)


def finish(ref: Ref, subjects: Collection[str]) -> None:
    """Note that nothing is left to do for these digests."""
    _ask(lambda connection: connection.execute(_FINISH, [ref.id, list(subjects)]))


def ledger(ref: Ref) -> list[str]:
    """The digests of everybody who was erased, in that order. Raises SubjectKeysUnavailable."""
    return _ask(lambda connection: [subject for (subject,) in connection.execute(_LEDGER, [ref.id])])


def forget_owner(ref: Ref) -> None:
    """Destroy all keys of a tenant that is deleted, and its ledger."""
    _ask(lambda connection: connection.execute(_FORGET, {"owner": ref.id}))
    forget_all()


def forget_all() -> None:
    """Ask control anew for every key."""
    with _lock:
        _keys.clear()
        _digest_keys.clear()


# --- What this process remembers -------------------------------------------------------------------------------------------


def _remembered(ref: Ref, subjects: Collection[str]) -> tuple[dict[str, AESGCM | None], set[str]]:
    """What is fresh enough, and what must be asked for."""
    found: dict[str, AESGCM | None] = {}
    missing: set[str] = set()
    oldest = time.monotonic() - FRESH_FOR
    for subject in subjects:
        entry = _keys.get((ref.id, subject))
        if entry is None or entry[1] < oldest:
            missing.add(subject)
        else:
            found[subject] = entry[0]
    return found, missing


def _remember(ref: Ref, rows: Mapping[str, bytes | None], read_at: float) -> dict[str, AESGCM | None]:
    """`read_at` is when the question was asked: a key that was destroyed meanwhile must not look younger than it is."""
    keys = {
        subject: None if blob is None else AESGCM(crypto.decrypt(blob, associated=_associated(ref, subject)))
        for subject, blob in rows.items()
    }
    with _lock:
        for subject, key in keys.items():
            _keys[ref.id, subject] = (key, read_at)
            _keys.move_to_end((ref.id, subject))
        # The front is the oldest: no key stays in memory for much longer than it may be used.
        while _keys and (len(_keys) > MAX_REMEMBERED or next(iter(_keys.values()))[1] < read_at - FRESH_FOR):
            _keys.popitem(last=False)
    return keys


def _digest_key(ref: Ref) -> bytes:
    """Never changes, so it is remembered without a limit of time."""
    key = _digest_keys.get(ref.id)
    if key is None:
        blob = _ask(lambda connection: _made(connection, ref, {_DIGESTS}))[_DIGESTS]
        assert blob is not None
        key = crypto.decrypt(blob, associated=_associated(ref, _DIGESTS))
        with _lock:
            _digest_keys[ref.id] = key
            while len(_digest_keys) > MAX_REMEMBERED:
                _digest_keys.popitem(last=False)
    return key


# --- What control has ------------------------------------------------------------------------------------------------------


def _read(connection: psycopg.Connection[Any], ref: Ref, subjects: Collection[str]) -> dict[str, bytes | None]:
    rows = connection.execute(_FIND, [ref.id, list(subjects)])
    return {subject: None if blob is None else bytes(blob) for subject, blob in rows}


def _made(connection: psycopg.Connection[Any], ref: Ref, subjects: set[str]) -> dict[str, bytes | None]:
    rows = _read(connection, ref, subjects)
    missing = sorted(subjects - rows.keys())
    if missing:
        blobs = [crypto.encrypt(os.urandom(32), associated=_associated(ref, subject)) for subject in missing]
        connection.execute(_MAKE, [ref.id, missing, blobs])
        rows |= _read(connection, ref, missing)  # another process may have been first
    return rows


def _associated(ref: Ref, subject: str) -> str:
    return f"subject:{ref.id}:{subject}"


def _ask(question: Callable[[psycopg.Connection[Any]], T]) -> T:
    """Control's answer, on a connection that is nobody else's and in autocommit. Raises SubjectKeysUnavailable.

    Asked again when the first connection turns out dead: every question here may be asked twice.
    """
    control: Any = connections[CONTROL.alias]
    for last in (False, True):
        try:
            connection = control.pool.getconn()
            try:
                return question(connection)
            finally:
                connection._pool.putconn(connection)  # the pool that lent it
        except (PoolTimeout, TooManyRequests) as error:  # it is busy: to ask again at once would make it busier
            raise SubjectKeysUnavailable(type(error).__name__) from error
        except psycopg.OperationalError as error:
            if last:
                raise SubjectKeysUnavailable(type(error).__name__) from error
    raise AssertionError("unreachable")


def _start_anew_after_fork() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_start_anew_after_fork)

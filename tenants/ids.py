"""Identifiers: UUIDv7 (RFC 9562), which sort by the time they were made."""

import uuid

import uuid_utils


def new_id() -> uuid.UUID:
    """A new UUIDv7, as the standard library's type."""
    return uuid.UUID(int=uuid_utils.uuid7().int)


def new_id_text() -> str:
    """A new UUIDv7 as it is written: for many at once, since the standard library's type takes four times as long."""
    return str(uuid_utils.uuid7())

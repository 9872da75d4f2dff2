"""What the routes of the chain give."""

from __future__ import annotations

from typing import Literal

from ninja import Field, Schema


class BadOut(Schema):
    seq: int = Field(description="The first number at which the log isn't as it was signed.")
    id: str | None = Field(description="The event that is there now, if one is.")
    reason: Literal["edited", "deleted", "inserted", "reordered", "forged", "truncated"]


class VerifyOut(Schema):
    valid: bool
    checked: int = Field(description="Events that are as they were signed, before the first bad one.")
    first_bad: BadOut | None


class KeyOut(Schema):
    id: str
    public_key: str = Field(description="32 bytes in base64.")


class KeysOut(Schema):
    algorithm: Literal["Ed25519"] = "Ed25519"
    keys: list[KeyOut]

"""What a field may hold, for every way in (pages, API, commands)."""

from __future__ import annotations

from datetime import datetime

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import ProhibitNullCharactersValidator, validate_email
from django.utils import timezone

from accounts.errors import InvalidField
from accounts.models import User
from accounts.roles import SCOPES

MAX_EMAIL = 254
MAX_PASSWORD = 1024


def clean_text(field: str, value: str, *, max_length: int, required: bool = False) -> str:
    """The value trimmed. Raises InvalidField when it is too long, empty though required, or holds what Postgres can't (NUL)."""
    value = value.strip()
    if required and not value:
        raise InvalidField(field, "This field is required.")
    if len(value) > max_length:
        raise InvalidField(field, f"Use at most {max_length} characters.")
    try:
        ProhibitNullCharactersValidator()(value)
        value.encode()
    except (ValidationError, UnicodeEncodeError):
        raise InvalidField(field, "This holds a character that can't be stored.") from None
    return value


def clean_name(value: str, *, field: str = "name", required: bool = False) -> str:
    """A person's or an organisation's name."""
    return clean_text(field, value, max_length=200, required=required)


def clean_email(value: str, *, field: str = "email") -> str:
    """An e-mail address by Django's EmailField, as typed but trimmed. Raises InvalidField."""
    value = clean_text(field, value, max_length=MAX_EMAIL, required=True)
    try:
        validate_email(value)
    except ValidationError:
        raise InvalidField(field, "Enter a valid e-mail address.") from None
    return value


def clean_password(password: str, user: User | None = None, *, field: str = "password") -> str:
    """A password that may be set. Raises InvalidField with each reason against it."""
    if len(password) > MAX_PASSWORD:  # hashing costs time by length
        raise InvalidField(field, f"Use at most {MAX_PASSWORD} characters.")
    try:
        password.encode()
        validate_password(password, user)
    except ValidationError as error:
        raise InvalidField(field, *error.messages) from None
    except UnicodeEncodeError:
        raise InvalidField(field, "This holds a character that can't be stored.") from None
    return password


def clean_scopes(scopes: list[str]) -> list[str]:
    """The scopes of a token without repeats. Raises InvalidField for none and for one that isn't known."""
    if not scopes:
        raise InvalidField("scopes", "Name at least one scope.")
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown:
        raise InvalidField("scopes", f"Unknown: {', '.join(unknown)[:200]}. Known are {', '.join(sorted(SCOPES))}.")
    return list(dict.fromkeys(scopes))


def clean_expiry(expires_at: datetime | None) -> datetime | None:
    """A moment in the future, or None for never. Raises InvalidField."""
    if expires_at is None:
        return None
    if timezone.is_naive(expires_at):
        raise InvalidField("expires_at", "Say the time zone, such as 2027-01-31T12:00:00Z.")
    if expires_at <= timezone.now():
        raise InvalidField("expires_at", "This lies in the past.")
    return expires_at

"""Pages by cursor: each goes on after the last row of the one before, so that rows that come or go move nothing."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

import orjson
from django.db.models import Model, Q, QuerySet
from django.http import HttpResponse

from tenants.errors import TenantryError

T = TypeVar("T")
M = TypeVar("M", bound=Model)
R = TypeVar("R")

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 500
_MAX_CURSOR = 500


class BadCursor(TenantryError):
    """Raised when a cursor isn't one that Tenantry gave out for this list."""

    status = 422

    def __init__(self) -> None:
        super().__init__("The cursor is not one of this list; leave it out to start at the first page.")
        self.errors = {"cursor": [self.message]}


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items and the cursor of what follows, None at the end."""

    items: list[T]
    next: str | None


def page_response(page: Page[Any]) -> HttpResponse:
    """A page of rows as JSON. They are written as they are: what they hold must be what the operation's schema promises."""
    return HttpResponse(orjson.dumps(page, option=orjson.OPT_UTC_Z), content_type="application/json; charset=utf-8")


def encode_cursor(*values: str | int) -> str:
    """An opaque cursor of where a page ended."""
    return base64.urlsafe_b64encode(orjson.dumps(values)).decode().rstrip("=")


def decode_cursor(cursor: str, *kinds: type[str] | type[int]) -> list[Any]:
    """The values of a cursor, which must be of these kinds in this order. Raises BadCursor."""
    try:
        if len(cursor) > _MAX_CURSOR:
            raise ValueError
        values = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        raise BadCursor() from None
    if not isinstance(values, list) or [type(value) for value in values] != list(kinds):
        raise BadCursor()
    return values


def keyset_page(
    queryset: QuerySet[M], *, limit: int = DEFAULT_LIMIT, cursor: str | None = None, newest: bool = False
) -> Page[M]:
    """A page of rows that have `created_at` and a UUID `id`, oldest or newest first; an index on both serves it. Raises BadCursor."""
    rows: list[Any] = list(keyset_query(queryset, limit=limit, cursor=cursor, newest=newest))
    return keyset_cut(rows, limit, lambda row: (row.created_at, row.pk))


def keyset_query(
    queryset: QuerySet[M, R], *, limit: int, cursor: str | None = None, newest: bool = False
) -> QuerySet[M, R]:
    """The rows of that page, and one more if there is one, for `keyset_cut`. Raises BadCursor."""
    if cursor:
        queryset = after_place(queryset, *place_of(cursor), newest=newest)
    order = ("-created_at", "-id") if newest else ("created_at", "id")
    return queryset.order_by(*order)[: limit + 1]


def keyset_cut(rows: list[T], limit: int, position: Callable[[T], tuple[datetime, UUID]]) -> Page[T]:
    """The page that these rows make; `position` tells a row's `created_at` and `id`."""
    if len(rows) <= limit:
        return Page(rows, None)
    created_at, row_id = position(rows[limit - 1])
    return Page(rows[:limit], encode_cursor(created_at.isoformat(), str(row_id)))


def place_of(cursor: str) -> tuple[datetime, UUID]:
    """The `created_at` and `id` after which the page of a keyset cursor begins. Raises BadCursor."""
    at, row_id = decode_cursor(cursor, str, str)
    try:
        moment, last = datetime.fromisoformat(at), UUID(row_id)
        if moment.tzinfo is None:
            raise ValueError
    except ValueError:
        raise BadCursor() from None
    return moment, last


def after_place(queryset: QuerySet[M, R], moment: Any, last: Any, *, newest: bool = False) -> QuerySet[M, R]:
    """The rows that come after a place, in the order of `created_at` and `id`, or in the other one."""
    if newest:
        return queryset.filter(Q(created_at__lt=moment) | Q(id__lt=last), created_at__lte=moment)
    return queryset.filter(Q(created_at__gt=moment) | Q(id__gt=last), created_at__gte=moment)

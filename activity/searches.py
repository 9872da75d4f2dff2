"""Saved searches: filters of the activity log under a name, one's own or shared with all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Q, QuerySet

from activity.errors import SearchInvalid, SearchNotFound
from activity.models import SavedSearch
from tenants.pages import DEFAULT_LIMIT, Page, keyset_page

MOST: Final = 50  # of one owner
MAX_NAME: Final = 80
FILTERS: Final = ("q", "action", "actor", "target", "source", "from", "to", "order")


def search_page(*, user: Any, limit: int = DEFAULT_LIMIT, cursor: str | None = None) -> Page[SavedSearch]:
    """The user's own and the shared ones, oldest first. Raises BadCursor."""
    return keyset_page(_visible(user).select_related("owner"), limit=limit, cursor=cursor)


def searches_shown(user: Any) -> list[SavedSearch]:
    """What a page offers: the user's own, then shared ones, by name."""
    found = list(_visible(user).select_related("owner").order_by("name", "id")[: 4 * MOST])
    return sorted(found, key=lambda search: search.owner_id != user.pk)


def search_save(*, owner: Any, name: str, query: Mapping[str, str], is_shared: bool = False) -> SavedSearch:
    """Save filters under a name, which is one of the owner's once, without case. Whether they may share is asked above.

    Raises SearchInvalid.
    """
    name = " ".join(name.split())
    kept = {field: query[field] for field in FILTERS if query.get(field)}
    errors: dict[str, list[str]] = {}
    if not name:
        errors["name"] = ["Give the search a name."]
    elif len(name) > MAX_NAME:
        errors["name"] = [f"A name has at most {MAX_NAME} characters."]
    elif "\0" in name:
        errors["name"] = ["A name can't hold the character NUL."]
    if not kept.keys() - {"order"}:
        errors["query"] = ["Set a filter first: a search without one is the whole log."]
    if errors:
        raise SearchInvalid(errors)
    with transaction.atomic():
        # One save of an owner at a time, so that the limit and the name hold.
        get_user_model()._default_manager.select_for_update().get(pk=owner.pk)
        own = SavedSearch.objects.filter(owner=owner)
        if own.filter(name__iexact=name).exists():
            raise SearchInvalid({"name": [f"You have a search called “{name}” already."]})
        if own.count() >= MOST:
            raise SearchInvalid({"name": [f"You have {MOST} saved searches, which is the most; delete one first."]})
        return SavedSearch.objects.create(owner=owner, name=name, query=kept, is_shared=is_shared)


def search_get(*, user: Any, search_id: UUID) -> SavedSearch:
    """One that the user may see. Raises SearchNotFound."""
    found = _visible(user).filter(pk=search_id).first()
    if found is None:
        raise SearchNotFound()
    return found


def search_delete(*, search: SavedSearch) -> None:
    """Delete it. Whose it is, and who may, is asked above."""
    search.delete()


def _visible(user: Any) -> QuerySet[SavedSearch]:
    return SavedSearch.objects.filter(Q(owner=user) | Q(is_shared=True))

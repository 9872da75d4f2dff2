"""`/activity/stats` and `/activity/searches`: counts of the log, and filters under a name."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema, Status
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, ConfigDict

from activity import searches, stats
from activity.api import caller
from activity.canonical import MAX_ACTION
from activity.models import SavedSearch
from activity.schemas import PartyFilter, in_utc, moment_of_end, moment_of_start

router = Router(tags=["Activity"])


# --- Counts ----------------------------------------------------------------------------------------------------------------

_START = "A moment with its offset from UTC, or a day (in UTC). The whole hour or day that it lies in is counted"


class StatsFilter(Schema):
    start: Annotated[AwareDatetime, BeforeValidator(moment_of_start), AfterValidator(in_utc)] | None = Field(
        None, alias="from", description=f"{_START}; left out, two weeks (two days by hour) before `to`."
    )
    end: Annotated[AwareDatetime, BeforeValidator(moment_of_end), AfterValidator(in_utc)] | None = Field(
        None, alias="to", description=f"{_START}; left out, now."
    )
    by: Literal["hour", "day"] = Field("day", description="At most 366 days, or 744 hours of the last 35 days.")
    action: str | None = Field(None, max_length=MAX_ACTION, description="Exact, or a prefix when it ends in a dot.")


class LineOut(Schema):
    action: str | None = Field(description="Null for all that aren't named.")
    total: int
    counts: list[int] = Field(description="One number for each of `buckets`.")


class ActorTotalOut(Schema):
    type: str
    id: str
    name: str = Field(description="A member's name as it is now; else empty.")
    total: int


class StatsOut(Schema):
    by: Literal["hour", "day"]
    is_complete: bool = Field(description="False while events that are older than the counts are still being counted.")
    total: int
    buckets: list[datetime] = Field(description="When each hour or day begins, in UTC, without a gap.")
    actions: list[LineOut] = Field(description="The most frequent ones; together they make the total.")
    actors: list[ActorTotalOut] | None = Field(
        description="Who did most, over whole days (UTC); null when an action was asked for."
    )


@router.get("/activity/stats", response=StatsOut, summary="Count events by hour or day")
def activity_stats(request: HttpRequest, filters: Query[StatsFilter]) -> stats.Stats:
    """Exact, and as quick for a long log as for a short one. An event counts at its `at`."""
    caller(request).require("activity.read")
    return stats.activity_stats(start=filters.start, end=filters.end, by=filters.by, action=filters.action)


# --- Saved searches --------------------------------------------------------------------------------------------------------


class SearchQuery(Schema):
    """The filters of `GET /activity`, with whole days for `from` and `to`."""

    model_config = ConfigDict(extra="forbid")

    q: str | None = Field(None, max_length=200)
    action: str | None = Field(None, max_length=MAX_ACTION)
    actor: PartyFilter | None = None
    target: PartyFilter | None = None
    source: Literal["ui", "api", "job", "system"] | None = None
    start: date | None = Field(None, alias="from", description="A day in UTC.")
    end: date | None = Field(None, alias="to", description="A day in UTC; included.")
    order: Literal["newest", "oldest"] | None = None


class SearchIn(Schema):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=searches.MAX_NAME, description="Yours once, without case.")
    query: SearchQuery
    is_shared: bool = Field(False, description="Everybody here sees it; needs the permission activity.write.")


class SearchOut(Schema):
    id: UUID
    name: str
    query: dict[str, str]
    is_shared: bool
    is_own: bool
    created_at: datetime


class SearchPageOut(Schema):
    items: list[SearchOut]
    next: str | None = Field(description="The cursor of the next page, null on the last one.")


class SearchFilter(Schema):
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=500)


@router.get("/activity/searches", response=SearchPageOut, summary="List saved searches, your own and shared ones")
def search_list(request: HttpRequest, filters: Query[SearchFilter]) -> dict[str, Any]:
    user = caller(request).require("activity.read")
    page = searches.search_page(user=user, limit=filters.limit, cursor=filters.cursor)
    return {"items": [_shown(search, user) for search in page.items], "next": page.next}


@router.post("/activity/searches", response={201: SearchOut}, summary="Save a search")
def search_create(request: HttpRequest, body: SearchIn) -> Status[dict[str, Any]]:
    """At most 50 of your own. To save one needs the permission profile.write, to share it activity.write too."""
    user = caller(request).require("profile.write")
    caller(request).require("activity.write" if body.is_shared else "activity.read")
    query = body.query.model_dump(mode="json", by_alias=True, exclude_none=True)
    search = searches.search_save(owner=user, name=body.name, query=query, is_shared=body.is_shared)
    return Status(201, _shown(search, user))


@router.delete("/activity/searches/{uuid:search_id}", response={204: None}, summary="Delete a saved search")
def search_delete(request: HttpRequest, search_id: UUID) -> Status[None]:
    """Your own, or with the permission activity.write one that is shared."""
    user: Any = caller(request).require("profile.write")
    search = searches.search_get(user=user, search_id=search_id)
    if search.owner_id != user.pk:
        caller(request).require("activity.write")
    searches.search_delete(search=search)
    return Status(204, None)


def _shown(search: SavedSearch, user: Any) -> dict[str, Any]:
    return {
        "id": search.pk,
        "name": search.name,
        "query": search.query,
        "is_shared": search.is_shared,
        "is_own": search.owner_id == user.pk,
        "created_at": search.created_at,
    }

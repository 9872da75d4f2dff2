"""What the activity API takes and gives."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import UTC, datetime, time
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Field, Schema
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, StringConstraints

from activity.canonical import MAX_ACTION, MAX_ID, MAX_NAME, MAX_TYPE
from activity.search import Query

MAX_BATCH = 1_000
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]")


def _text_of_moment(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _ISO.match(value):
        raise ValueError("Use ISO 8601 with an offset, as in 2026-01-31T12:00:00Z.")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_text_of_moment)]
PartyFilter = Annotated[str, StringConstraints(pattern=r"^[^:\x00]+:[^\x00]+$", max_length=MAX_TYPE + 1 + MAX_ID)]


# What comes in great numbers is a plain model: ninja's Schema, which can read Django's objects, takes ten times as long.
class PartyIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: str = Field(max_length=MAX_TYPE)
    id: str = Field(max_length=MAX_ID)
    name: str = Field("", max_length=MAX_NAME)


class EventIn(BaseModel):
    """An event of the organisation's own product."""

    model_config = ConfigDict(extra="forbid")

    id: UUID | None = Field(None, description="Yours, so that sending it again changes nothing; left out, one is made.")
    at: Moment | None = Field(None, description="When it happened, with an offset from UTC; left out, now.")
    action: str = Field(max_length=MAX_ACTION, description="Dotted and in lower case, such as `report.published`.")
    actor: PartyIn | None = Field(None, description="Who did it; left out, the caller.")
    target: PartyIn | None = None
    data: dict[str, Any] | None = None
    personal: list[Annotated[str, StringConstraints(max_length=500)]] = Field(
        default_factory=list,
        max_length=20,
        description="Where it tells of a person: `data.email`, `actor.name`, `actor.id`… Kept encrypted, gone once they are erased.",
    )
    subject: PartyFilter | None = Field(
        None, description="Of whom the personal places in `data` tell, as `type:id`; left out, the actor."
    )


OnError = Literal["reject", "keep"]


class BatchIn(BaseModel):
    """The body of a batch. Its events are looked at one by one (activity.intake), so that a bad one needn't refuse the others."""

    model_config = ConfigDict(extra="forbid")

    events: list[Any] = Field(max_length=MAX_BATCH)
    on_error: OnError | None = None


# What the documentation says of the body: the operation reads it by itself.
BATCH_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["events"],
                    "properties": {
                        "events": {
                            "type": "array",
                            "maxItems": MAX_BATCH,
                            "items": {"$ref": "#/components/schemas/EventIn"},
                        },
                        "on_error": {"type": "string", "enum": ["reject", "keep"], "default": "reject"},
                    },
                }
            },
            "application/x-ndjson": {
                "schema": {"type": "string", "description": f"One event a line, at most {MAX_BATCH:,} lines."}
            },
        },
    }
}


class BatchOut(Schema):
    accepted: int
    duplicates: int = Field(description="Events whose id was known, or came twice in the batch.")
    refused: int = Field(0, description="With `on_error=keep`: events that can't be recorded.")
    errors: dict[str, list[str]] = Field(
        default_factory=dict, description="With `on_error=keep`: what is wrong, by `events.<index>.<field>`."
    )


class PartyOut(BaseModel):
    type: str
    id: str
    name: str


class EventOut(BaseModel):
    id: UUID
    seq: int | None = Field(description="The number in the log, which has no gaps; null until the event is in it.")
    at: datetime
    action: str
    actor: PartyOut
    target: PartyOut | None
    source: str
    request_id: str | None
    ip: str | None
    data: dict[str, Any]


class EventPageOut(Schema):
    items: list[EventOut]
    next: str | None = Field(
        description="The cursor of the next page, null at the end. A page may be short, or empty, and have one."
    )


def _edge(value: Any, *, at_end: bool) -> Any:
    """A day stands for its first or last moment; a `+` that wasn't encoded arrives as a space."""
    if not isinstance(value, str):
        return value
    if re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return datetime.combine(datetime.fromisoformat(value).date(), time.max if at_end else time.min, UTC)
    return _text_of_moment(re.sub(r" (\d\d:?\d\d)$", r"+\1", value) if len(value) > 19 else value)


def moment_of_start(value: Any) -> Any:
    """A moment, or the first one of a day."""
    return _edge(value, at_end=False)


def moment_of_end(value: Any) -> Any:
    """A moment, or the last one of a day."""
    return _edge(value, at_end=True)


def in_utc(value: datetime) -> datetime:
    """The moment in UTC."""
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("The moment lies outside the years 1 to 9999 in UTC.") from None


_ASKED = {field.name for field in fields(Query)}
_DAY = "A moment with its offset from UTC, or a day (in UTC)"


class TailFilter(Schema):
    """What one may ask for of events to come."""

    action: str | None = Field(None, max_length=MAX_ACTION, description="Exact, or a prefix when it ends in a dot.")
    actor: PartyFilter | None = Field(None, description="As `type:id`.")
    target: PartyFilter | None = Field(None, description="As `type:id`.")
    source: Literal["ui", "api", "job", "system"] | None = None
    q: str | None = Field(None, max_length=200, description="Words, all of which must occur; without case.")

    def query(self) -> Query:
        """The filters as a question to the log."""
        return Query(**self.model_dump(include=_ASKED & type(self).model_fields.keys(), by_alias=False))


class ExportFilter(TailFilter):
    """What one may ask for of events that are in the log."""

    start: Annotated[AwareDatetime, BeforeValidator(moment_of_start), AfterValidator(in_utc)] | None = Field(
        None, alias="from", description=f"{_DAY}; included."
    )
    end: Annotated[AwareDatetime, BeforeValidator(moment_of_end), AfterValidator(in_utc)] | None = Field(
        None, alias="to", description=f"{_DAY}; included."
    )
    order: Literal["newest", "oldest"] = "newest"


class ActivityFilter(ExportFilter):
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=500)


class FollowFilter(TailFilter):
    after: int | None = Field(
        None,
        ge=0,
        lt=2**63,
        description="The number behind which to begin; left out, with what comes from now on. `Last-Event-ID` counts before it.",
    )
    format: Literal["json", "html"] = Field(
        "json", description="`html`: each event as a row of the activity page, for that page."
    )

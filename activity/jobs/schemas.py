"""What the jobs API takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Field, Schema
from pydantic import ConfigDict

from activity.jobs import links
from activity.jobs.kinds import find_kind
from activity.jobs.models import Job, JobLine
from activity.jobs.services import HIGHEST, LOWEST

StateName = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class JobIn(Schema):
    model_config = ConfigDict(extra="forbid")

    kind: str = Field(max_length=100)
    params: dict[str, Any] = Field(default_factory=dict, description="The kind's own parameters.")
    unique: str | None = Field(
        None,
        max_length=200,
        pattern="^[!-~]+$",
        description="While a job of this kind with this key isn't finished, that one is the answer.",
    )
    after: UUID | None = Field(None, description="A job: this one runs when that one has succeeded.")
    priority: int = Field(
        0, ge=LOWEST, le=HIGHEST, description="Among the organisation's own jobs the highest is first."
    )


class JobFilter(Schema):
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=500)
    kind: str = Field("", max_length=100)
    state: StateName | None = None
    actor: str = Field("", max_length=300, description="Who started them, as type:id.")


class JobOut(Schema):
    id: UUID
    kind: str
    state: StateName
    done: int = Field(description="Rows that are done with, taken or not.")
    total: int | None = Field(description="Rows in all; null while that isn't known.")
    counts: dict[str, int] = Field(description="What was done, by kind of thing, such as created and refused rows.")
    error: str | None
    quarantined: bool = Field(
        description="Whether it was set aside because its attempts made no progress; see `error`."
    )
    after: UUID | None = Field(description="The job that it runs after.")
    schedule: UUID | None = Field(description="The schedule that started it.")
    rate: float | None = Field(description="Rows a second, by its recent progress; null while that isn't known.")
    seconds_left: int | None = Field(description="How long it goes on at that rate.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result_url: str | None = Field(description="Where the file that it made is; null when there is none (yet).")
    result_removed_at: datetime | None = Field(
        description="When its file was removed, for its age or the plan's quota."
    )
    report_url: str | None = Field(description="Where the rows that weren't taken are named with reasons (CSV).")

    @staticmethod
    def of(job: Job) -> dict[str, Any]:
        """A job as the API shows it."""
        path = f"/api/v1/jobs/{job.pk}"
        kind = find_kind(job.kind)
        return {
            "id": job.pk,
            "kind": job.kind,
            "state": job.state,
            "done": job.done,
            "total": job.total,
            "counts": job.counts,
            "error": job.error or None,
            "quarantined": job.is_quarantined,
            "after": job.after_id,
            "schedule": job.schedule_id,
            "rate": job.rate_now,
            "seconds_left": job.seconds_left,
            "created_at": job.created_at,
            "started_at": job.started_at,
            "finished_at": job.finished_at,
            "result_url": f"{path}/result" if job.result_file else None,
            "result_removed_at": job.result_removed_at,
            "report_url": f"{path}/report" if kind is not None and kind.has_report else None,
        }


class LogFilter(Schema):
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=500)


class LineOut(Schema):
    at: datetime
    level: Literal["info", "warning", "error"]
    sentence: str

    @staticmethod
    def of(line: JobLine) -> dict[str, Any]:
        """A line as the API shows it."""
        return {"at": line.at, "level": line.level, "sentence": line.sentence}


class LogPageOut(Schema):
    items: list[LineOut]
    next: str | None = Field(description="The cursor of the next page, null on the last one.")


class LinkIn(Schema):
    model_config = ConfigDict(extra="forbid")

    expires_in: int | None = Field(
        None,
        ge=links.SHORTEST,
        le=links.LONGEST,
        description="Seconds for which it holds, at most 7 days; 15 minutes by default.",
    )


class LinkOut(Schema):
    url: str = Field(description="A secret: who has it has the file.")
    expires_at: datetime


class JobPageOut(Schema):
    items: list[JobOut]
    next: str | None = Field(description="The cursor of the next page, null on the last one.")

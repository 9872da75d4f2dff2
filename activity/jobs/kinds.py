"""The kinds of job: one table of name to what it takes and what runs. An app registers its own in its module `jobs`.

class ReportParams(BaseModel):
    month: date

@job_kind("report.build", title="Report", verb="reports.read")
def report_build(run: Run, params: ReportParams) -> None:
    ...

docs/jobs.md shows a whole one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from activity.canonical import plain_form
from activity.errors import EventInvalid
from activity.jobs.errors import KindUnknown, ParametersInvalid

if TYPE_CHECKING:
    from activity.jobs.run import Run

P = TypeVar("P", bound=BaseModel)
RunKind = Callable[["Run", P], None]


class NoParams(BaseModel):
    """Parameters of a kind that takes none."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of job. `verb` is what one must be allowed, to start it and to see what it made.

    `upload_at`: it works on a file, which is sent to this address of its own and not to POST /jobs. `has_report`: it may leave problems
    by row and column. `counts`: the names of what it counts, in the order in which people read them. `time_limit`: seconds after which an
    attempt is stopped and the job fails; None is settings.JOB_TIME_LIMIT.
    `is_always_started`: also when the plan's seconds of the day are used up. `own_address`: only this address starts it, which asks for
    more than its verb; POST /jobs and schedules don't. `unit`: what its progress counts, in the plural.
    """

    name: str
    title: str
    verb: str
    params: type[BaseModel]
    run: Callable[[Run, Any], None]
    upload_at: str = ""
    has_report: bool = False
    counts: tuple[str, ...] = ()
    time_limit: float | None = None
    is_always_started: bool = False
    own_address: str = ""
    unit: str = "rows"

    @property
    def is_offered(self) -> bool:
        """Whether POST /jobs and schedules start it."""
        return not (self.upload_at or self.own_address)

    def parse(self, params: Mapping[str, Any]) -> BaseModel:
        """The parameters with their types. Raises ParametersInvalid."""
        try:
            parsed = self.params.model_validate(params)
            plain_form(parsed.model_dump(mode="json"), "params")
        except EventInvalid as error:  # what neither the row nor the event could hold
            raise ParametersInvalid(error.errors) from None
        except ValidationError as error:
            fields: dict[str, list[str]] = {}
            for found in error.errors():
                place = ".".join(["params", *(str(part) for part in found["loc"])])
                fields.setdefault(place, []).append(found["msg"])
            raise ParametersInvalid(fields) from None
        return parsed


_kinds: dict[str, Kind] = {}


def job_kind(
    name: str,
    *,
    title: str,
    verb: str,
    params: type[BaseModel] = NoParams,
    upload_at: str = "",
    has_report: bool = False,
    counts: tuple[str, ...] = (),
    time_limit: float | None = None,
    is_always_started: bool = False,
    own_address: str = "",
    unit: str = "rows",
) -> Callable[[RunKind[P]], RunKind[P]]:
    """Register the decorated function as what runs a kind of job. `title` is what people read."""

    def register(run: RunKind[P]) -> RunKind[P]:
        _kinds[name] = Kind(
            name,
            title,
            verb,
            params,
            run,
            upload_at=upload_at,
            has_report=has_report,
            counts=counts,
            time_limit=time_limit,
            is_always_started=is_always_started,
            own_address=own_address,
            unit=unit,
        )
        return run

    return register


def kind_of(name: str) -> Kind:
    """The kind of that name. Raises KindUnknown."""
    kind = _kinds.get(name)
    if kind is None:
        known = ", ".join(sorted(kind.name for kind in _kinds.values() if kind.is_offered))
        raise KindUnknown(f"There is no kind of job with this name; known are {known}.")
    return kind


def find_kind(name: str) -> Kind | None:
    """The kind of that name, or None: a job may be of a kind that this release no longer has."""
    return _kinds.get(name)


def verb_of(name: str) -> str:
    """What one must be allowed, to cancel a job of that kind and to see what it made; `jobs.write` for a kind that is no longer there."""
    kind = _kinds.get(name)
    return "jobs.write" if kind is None else kind.verb


def title_of(name: str) -> str:
    """What people call a kind; its name for one that is no longer there."""
    kind = _kinds.get(name)
    return name if kind is None else kind.title


def unit_of(name: str) -> str:
    """What a kind's progress counts, in the plural."""
    kind = _kinds.get(name)
    return "rows" if kind is None else kind.unit


def counts_of(name: str, counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """A job's counts in the kind's order, then whatever else was counted."""
    kind = _kinds.get(name)
    order = [] if kind is None else [key for key in kind.counts if key in counts]
    return [(key, counts[key]) for key in dict.fromkeys([*order, *sorted(counts)])]


def all_kinds() -> list[Kind]:
    """Every kind, by name."""
    return [_kinds[name] for name in sorted(_kinds)]

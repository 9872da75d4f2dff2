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

    `takes_file`: it works on an upload, so it is started by an address of its own and not by POST /jobs. `has_report`: it may
    leave problems by row and column.
    """

    name: str
    title: str
    verb: str
    params: type[BaseModel]
    run: Callable[[Run, Any], None]
    takes_file: bool = False
    has_report: bool = False

    def parse(self, params: Mapping[str, Any]) -> BaseModel:
        """The parameters with their types. Raises ParametersInvalid."""
        try:
            return self.params.model_validate(params)
        except ValidationError as error:
            fields: dict[str, list[str]] = {}
            for found in error.errors():
                place = ".".join(["params", *(str(part) for part in found["loc"])])
                fields.setdefault(place, []).append(found["msg"])
            raise ParametersInvalid(fields) from None


_kinds: dict[str, Kind] = {}


def job_kind(
    name: str,
    *,
    title: str,
    verb: str,
    params: type[BaseModel] = NoParams,
    takes_file: bool = False,
    has_report: bool = False,
) -> Callable[[RunKind[P]], RunKind[P]]:
    """Register the decorated function as what runs a kind of job. `title` is what people read."""

    def register(run: RunKind[P]) -> RunKind[P]:
        _kinds[name] = Kind(name, title, verb, params, run, takes_file, has_report)
        return run

    return register


def kind_of(name: str) -> Kind:
    """The kind of that name. Raises KindUnknown."""
    kind = _kinds.get(name)
    if kind is None:
        known = ", ".join(sorted(kind.name for kind in _kinds.values() if not kind.takes_file))
        raise KindUnknown(f"There is no kind of job with this name; known are {known}.")
    return kind


def title_of(name: str) -> str:
    """What people call a kind; its name for one that is no longer there."""
    kind = _kinds.get(name)
    return name if kind is None else kind.title


def all_kinds() -> list[Kind]:
    """Every kind, by name."""
    return [_kinds[name] for name in sorted(_kinds)]

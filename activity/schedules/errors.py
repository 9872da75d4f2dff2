"""Every error of schedules.

ScheduleError
├── ScheduleNotFound        no such schedule here
├── ScheduleInvalid         some of its fields can't be accepted
├── TooManySchedules        the organisation has as many as it may have
└── CannotRun               its time has come, and it can't be run as it is: it is paused, and the sentence says why
"""

from __future__ import annotations

from collections.abc import Mapping

from tenants.errors import TenantryError


class ScheduleError(TenantryError):
    """Base of the errors of schedules."""


class ScheduleNotFound(ScheduleError):
    """Raised when an id names no schedule here."""

    status = 404

    def __init__(self) -> None:
        super().__init__("There is no such schedule.")


class ScheduleInvalid(ScheduleError):
    """Raised when fields can't be accepted. `errors` has the sentences by field."""

    status = 422

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        super().__init__(next(iter(errors.values()))[0])
        self.errors = dict(errors)


class TooManySchedules(ScheduleError):
    """Raised when the organisation has as many schedules as it may have."""

    status = 409

    def __init__(self, limit: int) -> None:
        super().__init__(f"An organisation may have {limit} schedules; delete one that isn't in use.")


class CannotRun(ScheduleError):
    """Raised when a schedule can't be run as it is. The sentence is shown to people, and names nobody."""

    status = 409

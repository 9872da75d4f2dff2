"""How often, as it is asked for and as it is told."""

from __future__ import annotations

from typing import Any

import pytest

from activity.schedules.errors import ScheduleInvalid
from activity.schedules.recurrence import recurrence_of


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"every": "hour", "minute": 0}, "every hour, on the hour"),
        ({"every": "hour", "minute": 15}, "every hour at 15 minutes past"),
        ({"every": "day", "at": "07:00"}, "every day at 07:00"),
        ({"every": "week", "weekday": "monday", "at": "07:00"}, "every Monday at 07:00"),
        ({"every": "month", "day": 1, "at": "23:59"}, "on the 1st of every month at 23:59"),
        ({"every": "month", "day": 22, "at": "00:00"}, "on the 22nd of every month at 00:00"),
        ({"every": "month", "day": 31, "at": "07:00"}, "on the 31st of every month (or its last day) at 07:00"),
    ],
)
def test_in_words_and_as_asked(asked: dict[str, Any], words: str) -> None:
    recurrence = recurrence_of(**asked)
    assert recurrence.in_words() == words
    assert {name: value for name, value in recurrence.told().items() if value is not None} == asked


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({"every": "year"}, {"every"}),
        ({"every": "hour"}, {"minute"}),
        ({"every": "hour", "minute": 60}, {"minute"}),
        ({"every": "hour", "minute": 0, "at": "07:00"}, {"at"}),
        ({"every": "day"}, {"at"}),
        ({"every": "day", "at": "7:00"}, {"at"}),
        ({"every": "day", "at": "24:00"}, {"at"}),
        ({"every": "day", "at": "1\N{ARABIC-INDIC DIGIT TWO}:00"}, {"at"}),
        ({"every": "day", "at": "07:00", "weekday": "monday", "day": 1}, {"weekday", "day"}),
        ({"every": "week", "at": "07:00", "weekday": "Montag"}, {"weekday"}),
        ({"every": "week"}, {"weekday", "at"}),
        ({"every": "month", "day": 32, "at": "x"}, {"day", "at"}),
        ({"every": "month", "day": 0, "at": "07:00"}, {"day"}),
    ],
)
def test_all_that_is_wrong_is_told_by_field(asked: dict[str, Any], fields: set[str]) -> None:
    with pytest.raises(ScheduleInvalid) as refusal:
        recurrence_of(**asked)
    assert set(refusal.value.errors) == fields

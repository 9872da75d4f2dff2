"""The form of the schedules pages."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import time
from typing import Any, Final, get_args

from django import forms

from activity.jobs.errors import ParametersInvalid
from activity.jobs.kinds import Kind, all_kinds, find_kind
from activity.jobs.tables import TITLES
from activity.schedules.errors import ScheduleError, ScheduleInvalid
from activity.schedules.models import Schedule
from activity.schedules.recurrence import FIELDS, WEEKDAYS, Every
from tenants import time_zones

EVERY_CHOICES: Final = [(Every.HOUR, "Hour"), (Every.DAY, "Day"), (Every.WEEK, "Week"), (Every.MONTH, "Month")]


class ScheduleForm(forms.Form):
    """A schedule's own fields. All of `minute`, `weekday`, `day` and `at` are sent; what doesn't go with `every` is left out.

    `what` is a kind, and behind a colon the format in which it writes, if it has formats. `result` is what the service returned.
    """

    name = forms.CharField(max_length=100, widget=forms.TextInput({"autocomplete": "off"}))
    what = forms.ChoiceField(label="What")
    every = forms.ChoiceField(label="Once every", choices=EVERY_CHOICES, initial=Every.WEEK)
    minute = forms.IntegerField(
        label="Minutes past the hour",
        min_value=0,
        max_value=59,
        initial=0,
        widget=forms.NumberInput({"class": "w-auto"}),
    )
    weekday = forms.ChoiceField(label="On", choices=[(day, day.capitalize()) for day in WEEKDAYS], initial=WEEKDAYS[0])
    day = forms.IntegerField(
        label="On day",
        min_value=1,
        max_value=31,
        initial=1,
        help_text="In a shorter month on its last day.",
        widget=forms.NumberInput({"class": "w-auto"}),
    )
    at = forms.TimeField(
        label="At", initial=time(7), widget=forms.TimeInput({"type": "time", "class": "w-auto"}, format="%H:%M")
    )
    time_zone = forms.ChoiceField(required=False)
    result: Any = None

    def __init__(
        self, *args: Any, verbs: Collection[str], tenant_zone: str, schedule: Schedule | None = None, **kwargs: Any
    ) -> None:
        """`verbs`: what the person may do, and so have done; of a schedule that is there only the format can be chosen."""
        if schedule is not None:
            kwargs["initial"] = _initial(schedule)
        super().__init__(*args, **kwargs)
        self._schedule = schedule
        what: Any = self.fields["what"]
        if schedule is None:
            what.choices = _kind_choices(verbs)
        elif len(formats := _formats(find_kind(schedule.kind))) > 1:
            what.label, what.choices = "Format", _choices_of(schedule.kind, formats)
        else:
            del self.fields["what"]
        zones: Any = self.fields["time_zone"]
        own = [] if schedule is None or not schedule.time_zone else [schedule.time_zone]
        zones.choices = [("", "The organisation's"), *time_zones.choices(*own)]
        zones.help_text = f"The organisation's is {tenant_zone}."

    def full_clean(self) -> None:
        """What doesn't go with `every` isn't looked at, whatever was sent."""
        used = FIELDS.get(self.data.get("every", ""), ())
        unused = [self.fields[name] for name in ("minute", "weekday", "day", "at") if name not in used]
        for field in unused:
            field.disabled = True
        super().full_clean()
        for field in unused:
            field.disabled = False

    def submit(self, service: Callable[..., Any], **context: Any) -> bool:
        """Call the service with what was filled in and `context`. False when either refuses: see `errors`."""
        if not self.is_valid():
            return False
        try:
            self.result = service(**self._arguments(), **context)
        except ScheduleInvalid as refusal:
            for name, sentences in refusal.errors.items():
                self.add_error(name if name in self.fields else None, sentences[0])
        except ScheduleError as refusal:
            self.add_error(None, refusal.message)
        return not self.errors

    def _arguments(self) -> dict[str, Any]:
        filled = dict(self.cleaned_data)
        kind, _, form = filled.pop("what", "").partition(":")
        found: dict[str, Any] = {name: filled[name] for name in ("name", "every", "time_zone")}
        for field in FIELDS[filled["every"]]:
            found[field] = f"{filled[field]:%H:%M}" if field == "at" else filled[field]
        if self._schedule is None:
            found["kind"] = kind
            found["params"] = {"format": form} if form else {}
        elif form:
            found["params"] = {**self._schedule.params, "format": form}
        return found


def what_of(schedule: Schedule) -> str:
    """What it has done, as people read it: the kind, and its format if there are several."""
    kind = find_kind(schedule.kind)
    if kind is None:
        return schedule.kind
    form = schedule.params.get("format") if len(_formats(kind)) > 1 else None
    return _in_format(kind, form) if form else kind.title


def _initial(schedule: Schedule) -> dict[str, Any]:
    form = schedule.params.get("format")
    often = {field: value for field, value in schedule.recurrence.told().items() if value is not None}
    what = f"{schedule.kind}:{form}" if form else schedule.kind
    return {"name": schedule.name, "what": what, "time_zone": schedule.time_zone, **often}


def _kind_choices(verbs: Collection[str]) -> list[tuple[str, str]]:
    """The kinds that need no more than a format to be started, of those that the person may start."""
    kinds = [kind for kind in all_kinds() if kind.verb in verbs and kind.is_offered and _is_simple(kind)]
    return [choice for kind in kinds for choice in _choices_of(kind.name, _formats(kind))]


def _choices_of(name: str, formats: Collection[str]) -> list[tuple[str, str]]:
    kind = find_kind(name)
    assert kind is not None
    if not formats:
        return [(name, kind.title)]
    return [(f"{name}:{form}", _in_format(kind, form)) for form in formats]


def _is_simple(kind: Kind) -> bool:
    return not any(field.is_required() for field in kind.params.model_fields.values())


def _formats(kind: Kind | None) -> tuple[str, ...]:
    field = None if kind is None else kind.params.model_fields.get("format")
    if kind is None or field is None:
        return ()
    return tuple(form for form in get_args(field.annotation) if _takes(kind, form))


def _takes(kind: Kind, form: str) -> bool:
    """A format may need what isn't installed."""
    try:
        kind.parse({"format": form})
    except ParametersInvalid as refusal:
        return "params.format" not in refusal.errors
    return True


def _in_format(kind: Kind, form: str) -> str:
    return f"{kind.title}, {TITLES.get(form, form.upper())}"

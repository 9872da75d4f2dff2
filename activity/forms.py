"""The filters of the activity page."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from typing import Any, cast
from urllib.parse import urlencode

from django import forms

from activity.search import Order, Query

SOURCES = (("", "Any"), ("ui", "Pages"), ("api", "API"), ("job", "Jobs"), ("system", "System"))
ORDERS = (("newest", "Newest first"), ("oldest", "Oldest first"))
_PARTY = re.compile(r"[^:\s]+:\S+")


class FilterForm(forms.Form):
    """The query's names are the API's. Days are those of UTC, both included."""

    q = forms.CharField(label="Words", required=False, max_length=200)
    action = forms.CharField(
        label="Action",
        required=False,
        max_length=200,
        widget=forms.TextInput({"list": "actions", "placeholder": "member. or member.created", "autocomplete": "off"}),
    )
    actor = forms.CharField(
        label="Who",
        required=False,
        max_length=200,
        widget=forms.TextInput({"placeholder": "member:id", "autocomplete": "off"}),
    )
    target = forms.CharField(
        label="To whom or what",
        required=False,
        max_length=200,
        widget=forms.TextInput({"placeholder": "invitation:id", "autocomplete": "off"}),
    )
    source = forms.ChoiceField(label="Source", required=False, choices=SOURCES)
    order = forms.ChoiceField(label="Order", required=False, choices=ORDERS)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, label in (("from", "From"), ("to", "To")):  # `from` is a word of Python
            self.fields[name] = forms.DateField(label=label, required=False, widget=forms.DateInput({"type": "date"}))

    def clean_actor(self) -> str:
        return self._party("actor")

    def clean_target(self) -> str:
        return self._party("target")

    def _party(self, name: str) -> str:
        value = str(self.cleaned_data[name]).strip()
        if value and not _PARTY.fullmatch(value):
            raise forms.ValidationError(
                "Write type and id with a colon between, such as member:0190a1b2; the log's own links do."
            )
        return value

    @property
    def is_filtering(self) -> bool:
        """Whether anything but the order was asked for."""
        return any(self.data.get(name) for name in self.fields if name != "order")

    @property
    def has_more(self) -> bool:
        """Whether one of the filters is in use that the page folds away."""
        return any(self.data.get(name) for name in self.fields if name not in {"q", "action"})

    def texts(self) -> dict[str, str]:
        """The filters that are set, as texts by the API's names: what a saved search keeps."""
        return {name: str(value) for name, value in self.cleaned_data.items() if value}

    @property
    def has_days(self) -> bool:
        """Whether only the events of certain days are asked for."""
        return bool(self.data.get("from") or self.data.get("to"))

    @property
    def asked(self) -> dict[str, str]:
        """What was asked for, by the API's names, without what is empty."""
        return {name: str(self.data[name]).strip() for name in self.fields if str(self.data.get(name, "")).strip()}

    @property
    def asked_query(self) -> str:
        """The same as a URL's query."""
        return urlencode(self.asked)

    def query(self) -> Query:
        """What is asked of the log; without what is invalid."""
        asked = self.cleaned_data
        return Query(
            action=asked.get("action") or None,
            actor=asked.get("actor") or None,
            target=asked.get("target") or None,
            source=asked.get("source") or None,
            q=asked.get("q") or None,
            start=datetime.combine(asked["from"], time.min, UTC) if asked.get("from") else None,
            end=datetime.combine(asked["to"], time.max, UTC) if asked.get("to") else None,
            order=cast(Order, asked.get("order") or "newest"),
        )

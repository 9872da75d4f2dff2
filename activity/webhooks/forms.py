"""The forms of the webhooks pages."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django import forms

from activity.webhooks.addresses import MAX_URL
from activity.webhooks.errors import WebhookError, WebhookInvalid


class WebhookForm(forms.Form):
    """A webhook's own fields, which are the arguments of the services; `result` is what the service returned."""

    name = forms.CharField(
        max_length=100, help_text="What receives it.", widget=forms.TextInput({"autocomplete": "off"})
    )
    url = forms.CharField(
        label="Address",
        max_length=MAX_URL,
        widget=forms.URLInput({"autocomplete": "off", "placeholder": "https://siem.example.com/events"}),
    )
    actions = forms.CharField(
        label="Actions",
        required=False,
        max_length=5_000,
        help_text="Separated by spaces; <code>member.</code> stands for all that begin so. Leave it empty for all events.",
        widget=forms.TextInput({"autocomplete": "off", "placeholder": "member. token.created"}),
    )
    result: Any = None

    def clean_actions(self) -> list[str]:
        return [action for action in re.split(r"[\s,]+", self.cleaned_data["actions"]) if action]

    def submit(self, service: Callable[..., Any], **context: Any) -> bool:
        """Call the service with what was filled in and `context`. False when either refuses: see `errors`."""
        if not self.is_valid():
            return False
        try:
            self.result = service(**self.cleaned_data, **context)
        except WebhookInvalid as refusal:
            for name, sentences in refusal.errors.items():
                self.add_error(name, sentences[0])
        except WebhookError as refusal:
            self.add_error(None, refusal.message)
        return not self.errors

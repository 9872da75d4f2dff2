"""Wrong settings, told at start-up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.core.exceptions import ImproperlyConfigured

from accounts.ratelimit import parse_rate


@register
def rate_limit_is_a_rate(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """accounts.E001: RATE_LIMIT can't be read."""
    try:
        if settings.RATE_LIMIT:
            parse_rate(settings.RATE_LIMIT)
    except ImproperlyConfigured as error:
        return [
            Error(str(error), hint="Set RATE_LIMIT such as 100/m, or leave it unset for no limit.", id="accounts.E001")
        ]
    return []

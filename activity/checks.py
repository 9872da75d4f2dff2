"""System checks of what the activity log relies on."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register

from activity.chain.keys import KeysInvalid, ring


@register(Tags.security)
def check_signing_keys(**kwargs: Any) -> list[CheckMessage]:
    """The ring of signing keys must be readable."""
    try:
        ring(settings.ACTIVITY_SIGNING_KEYS)
    except KeysInvalid as error:
        return [Error(str(error), hint="Make a key with: openssl rand -base64 32", id="activity.E001")]
    return []

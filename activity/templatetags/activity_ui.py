"""How events are shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from activity import sentences
from activity.personal import ERASED

register = template.Library()


@register.simple_tag
def sentence(event: Mapping[str, Any]) -> SafeString:
    """What happened, as a sentence."""
    return sentences.sentence(event["action"], event["actor"], event["target"], event["data"] or {})


@register.filter
def symbol(event: Mapping[str, Any]) -> str:
    """The name of the icon of an event."""
    return sentences.symbol(event["action"])


@register.simple_tag
def party(it: Mapping[str, Any], role: str) -> SafeString:
    """An actor or a target, with a link to all events that have it in this role."""
    reference = f"{it['type']}:{it['id']}"
    href = f"{reverse('activity')}?{urlencode({role: reference})}"
    name = "(erased)" if it.get("name") == ERASED else it.get("name") or ""
    return format_html('{} <a href="{}"><code>{}</code></a>', name, href, reference)


@register.filter
def pretty(data: Any) -> str:
    """Data as indented JSON."""
    return json.dumps(data, indent=2, ensure_ascii=False, default=str)

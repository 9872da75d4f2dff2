"""How events are shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django import template
from django.contrib.humanize.templatetags.humanize import intcomma
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from activity import sentences
from activity.models import SavedSearch
from activity.personal import ERASED
from activity.stats import Stats

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


@register.simple_tag
def search_link(search: SavedSearch) -> str:
    """The activity page with the filters of a saved search."""
    return f"{reverse('activity')}?{urlencode(search.query)}"


@register.filter
def told(stats: Stats) -> str:
    """What a chart shows, as a sentence."""
    first, last = stats.buckets[0], stats.buckets[-1]
    form = "%Y-%m-%d %H:00" if stats.by == "hour" else "%Y-%m-%d"
    days = f"from {first:{form}} to {last:{form}}" if first != last else f"on {first:{form}}"
    if not stats.total:
        return f"No events {days} (UTC)."
    events = "1 event" if stats.total == 1 else f"{intcomma(stats.total)} events"
    return f"{events} {days} (UTC)."

"""How the numbers of meters are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from django import template
from django.contrib.humanize.templatetags.humanize import intcomma
from django.template.defaultfilters import filesizeformat

T = TypeVar("T")

register = template.Library()


@register.filter
def amount(number: int | None, unit: str) -> str:
    """A meter's number with its unit: `1,234`, `8.4 MB`, `2 h 5 min`; a dash for what nobody measured."""
    if number is None:
        return "–"
    if unit == "bytes":
        return filesizeformat(number)
    if unit == "seconds":
        return _duration(number)
    return str(intcomma(number))


@register.filter
def at(items: Sequence[T], place: int) -> T:
    """What stands at a place of a list."""
    return items[place]


@register.filter
def unlocalized(number: float) -> str:
    """A number as SVG reads it."""
    return f"{number:g}"


def _duration(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"
    if minutes:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{rest} s"

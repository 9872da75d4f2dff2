"""How jobs are shown."""

from __future__ import annotations

from django import template
from django.utils.timesince import timesince

from activity.jobs.csv_files import SEPARATORS
from activity.jobs.kinds import counts_of, title_of, unit_of
from activity.jobs.models import Job
from activity.jobs.tables import TITLES

register = template.Library()


@register.filter
def title(job: Job) -> str:
    """What people call the kind of a job."""
    return title_of(job.kind)


@register.filter
def counts(job: Job) -> list[tuple[str, int]]:
    """What it did, as words to read."""
    return [(name.replace("_", " ").capitalize(), number) for name, number in counts_of(job.kind, job.counts)]


@register.filter
def took(job: Job) -> str:
    """How long it ran: in seconds below two minutes."""
    assert job.started_at is not None
    assert job.finished_at is not None
    seconds = (job.finished_at - job.started_at).total_seconds()
    return f"{seconds:.1f} s" if seconds < 120 else timesince(job.started_at, job.finished_at)


@register.filter
def format_title(form: str) -> str:
    """A file's format, as people write it; jobs from before there was a choice are of CSV."""
    return TITLES.get(form, "CSV")


@register.filter
def unit(job: Job) -> str:
    """What its progress counts."""
    return unit_of(job.kind)


@register.filter
def starter(job: Job) -> str:
    """Who started it, as the list is filtered by it."""
    return f"{job.actor['type']}:{job.actor['id']}"


@register.filter
def rate(rows: float) -> str:
    """Rows a second, as exact as it is of use."""
    return f"{rows:,.0f}" if rows >= 10 else f"{rows:.1f}"


@register.filter
def left(seconds: int) -> str:
    """About how much time is left."""
    if seconds < 90:
        return f"about {seconds} s left"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min left"
    return f"about {round(seconds / 3600)} h left"


@register.filter
def separator(letter: str) -> str:
    """A separator's name."""
    return SEPARATORS.get(letter, letter)


@register.filter
def encoding(name: str) -> str:
    """An encoding, as people write it."""
    return {"utf-8-sig": "UTF-8", "cp1252": "Windows-1252", "mac-roman": "Mac Roman"}.get(name, name.upper())

"""What the pages' templates share: icons, form fields, times, monograms."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import template
from django.conf import settings
from django.forms import BoundField, CheckboxInput, CheckboxSelectMultiple, Select
from django.http import QueryDict
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.models import User
from accounts.roles import may_manage, verbs_of_role

register = template.Library()


@register.simple_tag
def icon(name: str, css: str = "") -> SafeString:
    """An icon of the sprite, hidden from screen readers: the text beside it, or a label, says what it means."""
    sprite = static("tenantry/icons.svg")
    return format_html('<svg class="icon {}" aria-hidden="true"><use href="{}#{}"></use></svg>', css, sprite, name)


@register.simple_tag
def when(moment: datetime | None, form: str = "relative") -> SafeString | str:
    """A moment as `<time>`, which app.js tells in the reader's zone, "relative", "full" or "clock" (with seconds); nothing for None."""
    if moment is None:
        return ""
    if timezone.is_naive(moment):  # a mail's Date without a zone means UTC
        moment = moment.replace(tzinfo=UTC)
    return format_html(
        '<time datetime="{}" data-format="{}">{}</time>', moment.isoformat(), form, f"{moment:%Y-%m-%d %H:%M} UTC"
    )


@register.filter
def initials(name: str) -> str:
    """The first letters of the first and last word of a name, or of an e-mail address's local part."""
    words = [word for word in name.partition("@")[0].replace(".", " ").split() if word[0].isalnum()]
    return "".join(word[0] for word in (words[:1] + words[1:][-1:])) or "?"


@register.filter
def control(field: BoundField, placeholder: str | None = None) -> SafeString:
    """A form field's widget with Tabler's class for its kind, and another placeholder than its own if one is given."""
    widget = field.field.widget
    if isinstance(widget, CheckboxInput | CheckboxSelectMultiple):
        css = "form-check-input"
    elif isinstance(widget, Select):
        css = "form-select"
    else:
        css = "form-control"
    if field.errors:
        css += " is-invalid"
    attributes: dict[str, str | bool] = {"class": f"{widget.attrs.get('class', '')} {css}".strip()}
    if placeholder is not None:
        attributes["placeholder"] = placeholder
    return field.as_widget(attrs=attributes)


@register.inclusion_tag("partials/field.html")
def field(bound: BoundField, label: str = "", hint: str = "", placeholder: str | None = None) -> dict[str, Any]:
    """A whole form field: label, widget, hint and errors, tied together for screen readers."""
    widget = bound.field.widget
    return {
        "field": bound,
        "widget": control(bound, placeholder),
        "label": label or bound.label,
        "hint": hint or bound.help_text,
        "is_optional": not bound.field.required and not isinstance(widget, Select),
        "is_check": isinstance(widget, CheckboxInput) and not isinstance(widget, CheckboxSelectMultiple),
    }


@register.inclusion_tag("partials/nav_link.html", takes_context=True)
def nav_link(context: dict[str, Any], name: str, symbol: str, label: str) -> dict[str, Any]:
    """A link of the main navigation, marked as the current page on its own page and on those below it."""
    target = reverse(name)
    path = context["request"].path
    return {
        "target": target,
        "symbol": symbol,
        "label": label,
        "is_current": path == target or path.startswith(f"{target}/"),
    }


@register.inclusion_tag("partials/pager.html", takes_context=True)
def pager(context: dict[str, Any], next_cursor: str | None, parameter: str = "cursor") -> dict[str, Any]:
    """Links between cursor pages: to the first one and on. `parameter` is the cursor's name in the query."""
    query: QueryDict = context["request"].GET.copy()
    has_former = bool(query.pop(parameter, None))
    first = f"?{query.urlencode()}"
    if next_cursor:
        query[parameter] = next_cursor
    return {"first": first if has_former else None, "next": f"?{query.urlencode()}" if next_cursor else None}


@register.simple_tag(takes_context=True)
def allowed(context: dict[str, Any], verb: str) -> bool:
    """Whether the person who sees the page may do what the verb says (accounts.roles)."""
    return verb in verbs_of_role(context["request"].user.role)


@register.simple_tag(takes_context=True)
def manages(context: dict[str, Any], member: User) -> bool:
    """Whether the person who sees the page may change the member."""
    viewer = context["request"].user
    return "members.write" in verbs_of_role(viewer.role) and may_manage(viewer.role, member.role)


@register.simple_tag
def in_development() -> bool:
    """Whether this is `manage.py up`, where sent mails are read on a page."""
    return bool(settings.TENANTRY_DEV)


@register.simple_tag
def base_domain() -> str:
    """The base domain with the port that people see in their browser, such as `localhost:8000`."""
    return str(settings.WEB_URL).partition("://")[2].rstrip("/")


@register.simple_tag
def control_url() -> str:
    """The control host, where sign-up and the search for one's organisation are."""
    return f"{str(settings.WEB_URL).rstrip('/')}/"

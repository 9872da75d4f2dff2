"""Webhooks as pages. Who may see them is said where they are routed: accounts, which knows, is above this app."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from activity.webhooks import selectors, services
from activity.webhooks.errors import WebhookError, WebhookNotFound
from activity.webhooks.forms import WebhookForm
from activity.webhooks.models import Webhook
from tenants.pages import BadCursor

DELIVERIES_SHOWN = 20


def webhook_list(request: HttpRequest) -> HttpResponse:
    """The webhooks, and a form for another one."""
    return _list(request, WebhookForm())


def webhook_create(request: HttpRequest) -> HttpResponse:
    """Make a webhook; the answer is the one page that ever shows its secret, so it isn't a redirect."""
    form = WebhookForm(request.POST)
    if not form.submit(services.webhook_create):
        return _list(request, form, status=422)
    webhook, secret = form.result
    return _detail(request, webhook, secret=secret)


def webhook_detail(request: HttpRequest, webhook_id: UUID) -> HttpResponse:
    """One webhook and what was sent to it; the page asks for that again from time to time."""
    return _detail(request, _get(webhook_id))


def webhook_update(request: HttpRequest, webhook_id: UUID) -> HttpResponse:
    """Change name, address and actions."""
    webhook = _get(webhook_id)
    form = WebhookForm(request.POST)
    if not form.submit(services.webhook_update, webhook=webhook):
        return _detail(request, webhook, form=form, status=422)
    messages.success(request, "The webhook is saved.")
    return redirect("webhook_detail", webhook_id)


def webhook_switch(request: HttpRequest, webhook_id: UUID) -> HttpResponse:
    """Switch it on or off, as the form says."""
    is_active = request.POST.get("is_active") == "1"
    webhook = _get(webhook_id)
    try:
        services.webhook_update(webhook=webhook, is_active=is_active)
    except WebhookError as refusal:
        messages.error(request, refusal.message)
    else:
        went = (
            "on: it goes on where it stopped."
            if is_active
            else "off. What comes meanwhile is sent once it is on again."
        )
        messages.success(request, f"The webhook is switched {went}")
    return redirect("webhook_detail", webhook_id)


def webhook_secret(request: HttpRequest, webhook_id: UUID) -> HttpResponse:
    """Make another secret, which this answer alone shows."""
    webhook, secret = services.webhook_rotate(webhook=_get(webhook_id))
    return _detail(request, webhook, secret=secret, is_rotated=True)


def webhook_test(request: HttpRequest, webhook_id: UUID) -> HttpResponse:
    """Send a test message."""
    services.webhook_test(webhook=_get(webhook_id))
    messages.info(request, "A test message is on its way; see below how it goes.")
    return redirect("webhook_detail", webhook_id)


def webhook_remove(request: HttpRequest, webhook_id: UUID) -> HttpResponse:
    """Remove a webhook."""
    webhook = _get(webhook_id)
    services.webhook_remove(webhook=webhook)
    messages.success(request, f"The webhook “{webhook.name}” is removed.")
    return redirect("webhook_list")


def delivery_resend(request: HttpRequest, webhook_id: UUID, delivery_id: UUID) -> HttpResponse:
    """Send a delivery again."""
    webhook = _get(webhook_id)
    try:
        services.delivery_resend(delivery=selectors.delivery_get(webhook, delivery_id))
    except WebhookNotFound:
        messages.info(request, "This delivery isn't kept any more.")
    if getattr(request, "htmx", None):
        return _detail(request, webhook)
    return redirect("webhook_detail", webhook_id)


def _list(request: HttpRequest, form: WebhookForm, status: int = 200) -> HttpResponse:
    facts = {"webhooks": selectors.webhooks(), "form": form, "limit": services.MAX_WEBHOOKS}
    return render(request, "webhooks/webhooks.html", facts, status=status)


def _detail(
    request: HttpRequest, webhook: Webhook, *, form: WebhookForm | None = None, status: int = 200, **facts: Any
) -> HttpResponse:
    cursor, waiting = request.GET.get("cursor"), selectors.waiting(webhook)
    try:
        page = selectors.delivery_page(webhook, limit=DELIVERIES_SHOWN, cursor=cursor)
    except BadCursor:
        page = selectors.delivery_page(webhook, limit=DELIVERIES_SHOWN)
    content = {
        **facts,
        "webhook": webhook,
        "waiting": waiting,
        "deliveries": page.items,
        "next": page.next,
        # A list of the newest asks for itself again: soon while something is on its way.
        "is_live": not cursor,
        "is_moving": any(delivery.is_waiting for delivery in page.items) or (webhook.is_active and waiting > 0),
        "form": form
        or WebhookForm(initial={"name": webhook.name, "url": webhook.url, "actions": " ".join(webhook.actions)}),
    }
    template = "webhooks/deliveries.html" if getattr(request, "htmx", None) else "webhooks/webhook.html"
    return render(request, template, content, status=status)


def _get(webhook_id: UUID) -> Webhook:
    try:
        return selectors.webhook_get(webhook_id)
    except WebhookNotFound as error:
        raise Http404(error.message) from None

"""Webhooks as pages."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from accounts.models import User
from activity.webhooks.models import Delivery, Webhook
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.conftest import (  # noqa: F401  fixtures
    admin,
    fresh_limits,
    member,
    owner,
    quick_passwords,
)
from tests.accounts.pages.conftest import SignedIn, signed_in  # noqa: F401  a fixture
from tests.jobs.test_pages import html
from tests.webhooks.conftest import deliver, make_webhook, record
from tests.webhooks.receiver import Receiver, answer


@pytest.fixture
def browser(signed_in: SignedIn, admin: User) -> Client:  # noqa: F811
    return signed_in(admin)


@pytest.fixture
def webhook(acme: TenantRef, receiver: Receiver) -> Webhook:
    with use_tenant(acme):
        return make_webhook(receiver, name="<b>SIEM</b>")[0]


def test_without_webhooks_the_page_says_what_they_are(browser: Client) -> None:
    page = html(browser.get("/webhooks"))
    assert "No webhooks yet" in page
    assert 'aria-current="page"' in page


def test_members_see_no_webhooks(signed_in: SignedIn, member: User) -> None:  # noqa: F811
    client = signed_in(member)
    assert client.get("/webhooks").status_code == 403
    assert "/webhooks" not in html(client.get("/"))


def test_the_secret_is_shown_once(acme: TenantRef, browser: Client, receiver: Receiver) -> None:
    page = html(browser.post("/webhooks/create", {"name": "SIEM", "url": receiver.url, "actions": "member., token."}))
    (secret,) = re.findall(r"whsec_[A-Za-z0-9+/=]+", page)
    with use_tenant(acme):
        webhook = Webhook.objects.get()
        assert webhook.decrypt(webhook.encrypted_secret) == secret
    assert webhook.actions == ["member.", "token."]
    assert "whsec_" not in html(browser.get(f"/webhooks/{webhook.pk}"))
    assert "whsec_" in html(browser.post(f"/webhooks/{webhook.pk}/secret"))


def test_what_cannot_be_accepted_stands_beside_its_field(browser: Client) -> None:
    page = html(browser.post("/webhooks/create", {"name": "", "url": "https://10.0.0.1/", "actions": ""}), 422)
    assert 'id="id_name_error"' in page
    page = html(browser.post("/webhooks/create", {"name": "SIEM", "url": "https://10.0.0.1/", "actions": ""}), 422)
    assert "private network" in page
    page = html(browser.post("/webhooks/create", {"name": "SIEM", "url": "https://x.invalid", "actions": "A b"}), 422)
    assert "can&#x27;t be resolved" in page


def test_it_is_changed_switched_and_removed(acme: TenantRef, browser: Client, webhook: Webhook) -> None:
    path = f"/webhooks/{webhook.pk}"
    page = html(browser.get(path))
    assert "&lt;b&gt;SIEM&lt;/b&gt;" in page
    browser.post(f"{path}/update", {"name": "Other", "url": webhook.url, "actions": "member."})
    browser.post(f"{path}/switch", {"is_active": "0"})
    assert "switched off" in html(browser.get("/webhooks"))
    browser.post(f"{path}/switch", {"is_active": "1"})
    with use_tenant(acme):
        found = Webhook.objects.get()
        assert (found.name, found.actions, found.is_active) == ("Other", ["member."], True)
    refused = browser.post(f"{path}/update", {"name": "", "url": "nonsense", "actions": ""})
    assert "This field is required" in html(refused, 422)
    assert browser.post(f"{path}/remove").status_code == 302
    assert browser.get(path).status_code == 404


def test_the_deliveries_tell_what_happened(
    acme: TenantRef, browser: Client, webhook: Webhook, receiver: Receiver
) -> None:
    path = f"/webhooks/{webhook.pk}"
    assert "Nothing sent yet" in html(browser.get(path))
    receiver.script = [answer(500, b"<script>oops</script>")]
    with use_tenant(acme):
        record(acme, range(3))
        deliver(acme)
        delivery = Delivery.objects.get()
    page = html(browser.get(path))
    assert "It answered 500." in page
    assert "&lt;script&gt;oops" in page
    assert "Next attempt" in page
    assert 'hx-trigger="every 2s"' in page
    assert "Send it now" in page
    part = browser.post(f"{path}/deliveries/{delivery.pk}/resend", headers={"HX-Request": "true"})
    assert part.content.decode().lstrip().startswith('<div id="deliveries"')
    with use_tenant(acme):
        deliver(acme)
    page = html(browser.get(path))
    assert "Answered 200" in page
    assert "Send it again" in page
    assert 'hx-trigger="every 10s"' in page


def test_a_test_is_sent_from_the_page(acme: TenantRef, browser: Client, webhook: Webhook, receiver: Receiver) -> None:
    assert browser.post(f"/webhooks/{webhook.pk}/test").status_code == 302
    assert "Test message" in html(browser.get(f"/webhooks/{webhook.pk}"))
    with use_tenant(acme):
        deliver(acme)
    assert len(receiver.requests) == 1


def test_one_that_was_switched_off_says_why(acme: TenantRef, browser: Client, webhook: Webhook) -> None:
    with use_tenant(acme):
        Webhook.objects.update(is_active=False, disabled_reason="Nothing was taken for 3 days.")
    assert "Nothing was taken for 3 days." in html(browser.get(f"/webhooks/{webhook.pk}"))
    assert "switched off: it failed" in html(browser.get("/webhooks"))

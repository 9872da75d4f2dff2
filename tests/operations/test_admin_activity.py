"""The operators' look into one tenant's activity."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import pytest
from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.test import Client

from accounts.models import User
from activity import outbox
from activity.events import Event, Target
from activity.relay import relay
from tenants.context import use_control, use_tenant
from tenants.refs import TenantRef

PASSWORD = "a long enough passphrase"
ADDRESS = "/admin/activity/loggedevent/"


@dataclass(frozen=True, kw_only=True)
class LetterSent(Event):
    action: ClassVar[str] = "letter.sent"
    number: int


@pytest.fixture
def letters(acme: TenantRef, globex: TenantRef, empty_logs: None) -> None:
    """120 events in the log of acme, and one in that of globex."""
    for ref, count in ((acme, 120), (globex, 1)):
        with use_tenant(ref):
            with transaction.atomic():
                for number in range(1, count + 1):
                    outbox.record(LetterSent(target=Target("letter", str(number), f"Letter {number}"), number=number))
            relay(ref)


@pytest.fixture
def client(tenants: dict[str, TenantRef]) -> Client:
    """An operator's browser."""
    client = Client(HTTP_HOST="localhost")
    with use_control():
        client.force_login(User.objects.create_superuser("operator@example.com", PASSWORD))
    return client


def numbers(client: Client, query: str) -> list[int]:
    """The numbers of the events on a page, as they stand there."""
    return [int(found) for found in re.findall(r"<td>(\d+)</td>", client.get(ADDRESS + query).content.decode())]


def test_it_asks_for_a_tenant_first(client: Client, letters: None) -> None:
    text = client.get(ADDRESS).content.decode()
    assert "?tenant=acme" in text
    assert "?tenant=globex" in text
    assert "letter.sent" not in text


def test_an_unknown_address_offers_those_that_come_close(client: Client, letters: None) -> None:
    text = client.get(ADDRESS + "?tenant=glo").content.decode()
    assert "?tenant=globex" in text
    assert "?tenant=acme" not in text


def test_pages_go_through_all_of_one_tenant_newest_first(client: Client, letters: None) -> None:
    first = numbers(client, "?tenant=acme")
    last = first[0]
    pages = [first, *(numbers(client, f"?tenant=acme&before={last - seen + 1}") for seen in (50, 100))]
    assert pages == [
        list(range(last, last - 50, -1)),
        list(range(last - 50, last - 100, -1)),
        list(range(last - 100, last - 120, -1)),
    ]
    assert f"before={last - 49}" in client.get(ADDRESS + "?tenant=acme").content.decode()
    assert "before=" not in client.get(ADDRESS + f"?tenant=acme&before={last - 99}").content.decode()
    assert len(numbers(client, "?tenant=globex")) == 1


def test_each_look_is_in_the_tenants_history(client: Client, letters: None, acme: TenantRef) -> None:
    client.get(ADDRESS + "?tenant=acme")
    client.get(ADDRESS + "?tenant=acme&before=71")
    with use_control():
        entry = LogEntry.objects.get(object_id=acme.id)
    assert "Looked at the activity log" in entry.get_change_message()
    assert "Looked at the activity log" in client.get(f"/admin/tenants/tenant/{acme.id}/history/").content.decode()


def test_it_is_read_only(client: Client, letters: None) -> None:
    assert client.post(ADDRESS + "?tenant=acme", {"action": "delete_selected"}).status_code == 405
    assert client.get(ADDRESS + "add/").status_code == 404


def test_who_may_not_view_it_does_not(tenants: dict[str, TenantRef]) -> None:
    client = Client(HTTP_HOST="localhost")
    with use_control():
        client.force_login(User.objects.create_user("staff@example.com", PASSWORD, is_staff=True))
    assert client.get(ADDRESS + "?tenant=acme").status_code == 403

"""The activity log as a page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from django.db import transaction
from django.test import Client

from accounts.models import User
from activity import outbox
from activity.events import Event, Target
from activity.relay import relay
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.pages.conftest import SignedIn
from tests.activity.test_mongo_away import Away, away  # noqa: F401  a fixture

EVENTS = 120
PAGE = 50


@dataclass(frozen=True, kw_only=True)
class ReportPublished(Event):
    action: ClassVar[str] = "report.published"
    note: str = ""


@pytest.fixture
def reports(acme: TenantRef, empty_logs: None) -> None:
    """120 events, numbered from 1."""
    with use_tenant(acme):
        with transaction.atomic():
            for number in range(1, EVENTS + 1):
                target = Target("report", str(number), f"Report {number}")
                outbox.record(ReportPublished(target=target, note="<b>markup</b>" if number == EVENTS else ""))
        relay(acme)


@pytest.fixture
def page(signed_in: SignedIn, reports: None, viewer: User) -> Client:
    return signed_in(viewer)


def numbers(answer: Any) -> list[int]:
    """The numbers of the events on a page, from top to bottom."""
    return [int(number) for number in re.findall(r">#(\d+)<", answer.content.decode())]


def linked(answer: Any, text: str) -> str:
    """Where a link of the pager leads; empty when it isn't there."""
    found = re.search(rf'href="([^"]+)">{text}<', answer.content.decode())
    return found[1].replace("&amp;", "&") if found else ""


def test_pages_lead_to_the_oldest_event_and_back(page: Client) -> None:
    first = page.get("/activity")
    second = page.get(f"{linked(first, 'Older')}")
    third = page.get(f"{linked(second, 'Older')}")
    assert numbers(first) + numbers(second) + numbers(third) == list(range(EVENTS, 0, -1))
    assert not linked(first, "Newer")
    assert not linked(third, "Older")
    back = page.get(linked(third, "Newer"))
    assert numbers(back) == numbers(second)
    assert numbers(page.get(linked(back, "Newer"))) == numbers(first)
    assert numbers(page.get(linked(third, "First page"))) == numbers(first)


def test_oldest_first_goes_the_other_way(page: Client) -> None:
    first = page.get("/activity?order=oldest")
    second = page.get(linked(first, "Newer"))
    assert numbers(first) + numbers(second) == list(range(1, 2 * PAGE + 1))
    assert numbers(page.get(linked(second, "Older"))) == numbers(first)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("q=report+117", [117]),
        ("target=report:118", [118]),
        ("action=report.&q=119", [119]),
        ("action=report.published&target=report:7", [7]),
        ("action=report", []),
        ("actor=member:nobody", []),
        ("source=api", []),
        ("to=2001-01-01", []),
        ("from=2001-01-01&target=report:3", [3]),
    ],
)
def test_filters_are_the_apis(page: Client, query: str, expected: list[int]) -> None:
    assert numbers(page.get(f"/activity?{query}")) == expected


def test_filters_stay_while_pages_turn(page: Client) -> None:
    assert "action=report." in linked(page.get("/activity?action=report."), "Older")


@pytest.mark.parametrize("query", ["actor=nonsense", "from=yesterday", "source=moon"])
def test_a_filter_that_makes_no_sense_says_what_would(page: Client, query: str) -> None:
    answer = page.get(f"/activity?{query}")
    assert answer.status_code == 422
    assert f'id="id_{query.partition("=")[0]}_error"' in answer.content.decode()


@pytest.mark.parametrize("side", ["older", "newer"])
def test_a_cursor_that_is_none_leads_to_the_first_page(page: Client, side: str) -> None:
    assert page.get(f"/activity?q=report&{side}=nonsense")["Location"] == "/activity?q=report"


def test_data_is_text_and_not_markup(page: Client) -> None:
    answer = page.get("/activity?q=markup").content.decode()
    assert "&lt;b&gt;markup&lt;/b&gt;" in answer
    assert "<b>markup" not in answer


def test_one_tenants_log_is_nothing_in_another(reports: None, globex: TenantRef, stranger: User) -> None:
    client = Client(HTTP_HOST="globex.localhost")
    with use_tenant(globex):
        client.force_login(stranger)
    assert numbers(client.get("/activity?action=report.")) == []


def test_the_dashboard_shows_the_latest(page: Client) -> None:
    answer = page.get("/").content.decode()
    assert "Report 120" in answer
    assert ">120<" in answer


def test_while_the_log_is_away_the_pages_say_so(page: Client, away: Away) -> None:  # noqa: F811
    answer = page.get("/activity")
    assert answer.status_code == 503
    assert "Changes are still recorded" in answer.content.decode()
    dashboard = page.get("/")
    assert dashboard.status_code == 200
    assert "can't be reached right now" in dashboard.content.decode()

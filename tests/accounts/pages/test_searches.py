"""Saved searches and the chart on the activity page and the dashboard."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from activity import searches
from activity.models import SavedSearch
from activity.relay import relay
from tenants.context import use_tenant
from tenants.refs import TenantRef
from tests.accounts.pages.conftest import SignedIn
from tests.activity.test_rollups import ingest, some

SAVE = "/activity/searches"


@pytest.fixture
def events(acme: TenantRef, empty_logs: None) -> None:
    with use_tenant(acme):
        ingest(some(60, since=timedelta(days=10)))
        relay(acme)


def saved(acme: TenantRef) -> list[tuple[str, dict[str, str], bool]]:
    with use_tenant(acme):
        return [(search.name, search.query, search.is_shared) for search in SavedSearch.objects.order_by("created_at")]


def text(answer: Any) -> str:
    return str(answer.content.decode())


def test_the_filters_of_the_page_are_saved_and_offered(acme: TenantRef, signed_in: SignedIn, viewer: User) -> None:
    page = signed_in(viewer)
    asked = "q=&action=commit.&from=2026-01-31&order=newest&older=WzFd"
    answer = page.post(SAVE, {"query": asked, "name": "Commits"}, follow=True)
    assert "The search “Commits” is saved." in text(answer)
    assert saved(acme) == [("Commits", {"action": "commit.", "from": "2026-01-31", "order": "newest"}, False)]
    again = text(page.get("/activity"))
    link = re.search(r'href="(/activity\?[^"]+)"[^>]*>Commits', again)
    assert link is not None
    shown = text(page.get(link[1].replace("&amp;", "&")))
    assert 'aria-current="true">Commits' in shown
    assert 'name="from" value="2026-01-31"' in shown


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"query": "action=commit.", "name": ""}, "Give the search a name."),
        ({"query": "order=oldest", "name": "All"}, "Set a filter first"),
        ({"query": "actor=ada", "name": "Ada"}, "one of them is not valid"),
        ({}, "Give the search a name."),
    ],
)
def test_what_can_not_be_saved_is_said(
    acme: TenantRef, signed_in: SignedIn, viewer: User, form: dict[str, str], sentence: str
) -> None:
    answer = signed_in(viewer).post(SAVE, form, follow=True)
    assert sentence in text(answer)
    assert saved(acme) == []


def test_who_may_share_and_delete(acme: TenantRef, signed_in: SignedIn, owner: User, viewer: User) -> None:
    form = {"query": "action=commit.", "name": "Commits", "is_shared": "on"}
    assert signed_in(viewer).post(SAVE, form).status_code == 403
    assert signed_in(owner).post(SAVE, form).status_code == 302
    with use_tenant(acme):
        search = SavedSearch.objects.get()
        private = searches.search_save(owner=owner, name="Mine", query={"q": "x"})
    seen = text(signed_in(viewer).get("/activity"))
    assert "Commits" in seen
    assert "Mine" not in seen
    assert "Delete the saved search" not in seen
    assert signed_in(viewer).post(f"{SAVE}/{search.pk}/delete").status_code == 403
    signed_in(viewer).post(f"{SAVE}/{private.pk}/delete")
    assert len(saved(acme)) == 2
    assert "is deleted" in text(signed_in(owner).post(f"{SAVE}/{search.pk}/delete", follow=True))
    assert "deleted already" in text(signed_in(owner).post(f"{SAVE}/{search.pk}/delete", follow=True))


def test_nobody_else_may_post(anonymous: Client) -> None:
    assert anonymous.post(SAVE, {}).status_code == 302
    assert "/login" in anonymous.post(SAVE, {}).headers["Location"]


def test_the_chart_follows_the_filter(signed_in: SignedIn, events: None, viewer: User) -> None:
    page = signed_in(viewer)
    everything = text(page.get("/activity"))
    assert everything.count("<tr>") == 1 + 14
    assert "release.made" in everything
    commits = text(page.get("/activity?action=commit.&from=2026-01-01&older=WzFd"))
    assert 'href="/activity?action=commit.pushed&amp;from=2026-01-01"' in commits
    assert '<th scope="col">commit.pushed</th>' in commits
    assert '<th scope="col">release.made</th>' not in commits
    for query in ("actor=user:ada", "q=x", "source=api", "from=2026-02-01&to=2026-01-01"):
        assert "data-chart" not in text(page.get(f"/activity?{query}"))


def test_the_dashboard_has_the_last_two_weeks(signed_in: SignedIn, events: None, viewer: User) -> None:
    shown = text(signed_in(viewer).get("/"))
    assert 'data-chart="day"' in shown
    assert "Who did most" in shown
    assert "/activity?actor=user%3Aada" in shown


def test_an_empty_chart_says_so(signed_in: SignedIn, viewer: User) -> None:
    shown = text(signed_in(viewer).get("/activity?action=no.such"))
    assert "No events from" in shown
    assert "chart-canvas" not in shown

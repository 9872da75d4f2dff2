"""Two tenants load the same people and the same events through the API, at once: each has each once, and can page through all of it.

The data has the shape of a real project's history: any Unicode, bursts, out of time order, names that occur often and rarely.
Environment variables name real files to take in its place: TENANTRY_MEMBERS (CSV) and TENANTRY_ACTIVITY (NDJSON, gzip).
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.system import System, wait_for

pytestmark = pytest.mark.xdist_group("system")

NAMES = [
    "Ask Solem",
    "Ömer Çelik",
    "李小龙",
    "dependabot[bot]",
    "Zoë 🦊",
    "O'Brien",
    "<b>bold</b>",
    "=cmd()",
    "Ω",
    "n/a",
]


def people() -> list[dict[str, str]]:
    path = os.environ.get("TENANTRY_MEMBERS")
    if path:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    return [
        {"email": f"person{number}@people.example", "name": f"{NAMES[number % 10]} {number}", "role": "member"}
        for number in range(120)
    ]


def events() -> list[dict[str, Any]]:
    path = os.environ.get("TENANTRY_ACTIVITY")
    if path:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            return [json.loads(line) for line in file]
    chance = random.Random(17)
    start = datetime(2009, 4, 24, tzinfo=UTC)
    return [
        {
            "id": str(UUID(int=chance.getrandbits(128), version=4)),
            "at": (start + timedelta(days=chance.uniform(0, 6000))).isoformat(),
            "action": chance.choice(["commit.pushed", "commit.pushed", "commit.merged", "release.tagged"]),
            "actor": {"type": "user", "id": f"u{chance.randrange(40)}", "name": chance.choice(NAMES)},
            "target": {"type": "repository", "id": "celery", "name": "celery/celery"},
            "data": {"subject": f"Change {number} {chance.choice(NAMES)}", "files": chance.randrange(20)},
        }
        for number in range(1300)
    ]


def pages(client: httpx.Client, path: str, **parameters: Any) -> list[dict[str, Any]]:
    """Every item of a list, page by page."""
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        answer = client.get(path, params={**parameters, "limit": 500, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        items += page["items"]
        cursor = page["next"]
        if cursor is None:
            return items


def load(client: httpx.Client, failures: list[BaseException]) -> None:
    try:
        for person in people():
            answer = client.post("/api/v1/members", json=person)
            assert answer.status_code == 201, answer.text
        sent = events()
        for repeat in range(2):
            accepted = duplicates = 0
            for first in range(0, len(sent), 1000):
                answer = client.post("/api/v1/activity/batch", json={"events": sent[first : first + 1000]})
                assert answer.status_code == 200, answer.text
                accepted += answer.json()["accepted"]
                duplicates += answer.json()["duplicates"]
            assert (accepted, duplicates) == ((len(sent), 0) if not repeat else (0, len(sent)))
    except BaseException as error:
        failures.append(error)


def test_two_tenants_load_the_same_people_and_events_and_each_has_each_once(system: System) -> None:
    clients = {slug: system.client(slug, token=system.tenant(slug)["token"]) for slug in ("acme", "globex")}
    before = {
        slug: {item["email"].lower() for item in pages(client, "/api/v1/members")} for slug, client in clients.items()
    }
    failures: list[BaseException] = []
    threads = [threading.Thread(target=load, args=(client, failures)) for client in clients.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []

    sent, wanted = events(), people()
    prefix = sent[0]["action"].split(".")[0] + "."
    for slug, client in clients.items():
        members = pages(client, "/api/v1/members")
        assert {item["email"].lower() for item in members} == before[slug] | {
            person["email"].lower() for person in wanted
        }
        assert len(members) == len(before[slug]) + len(wanted)

        wait_for(
            lambda client=client: len(pages(client, "/api/v1/activity", source="api", action=prefix)) == sum(
                event["action"].startswith(prefix) for event in sent
            ),
            timeout=60 + len(sent) / 20, interval=1.0, what="the events of the batch in the log",
        )  # fmt: skip
        everything = pages(client, "/api/v1/activity")
        assert Counter(item["id"] for item in everything).most_common(1)[0][1] == 1
        assert {event["id"] for event in sent} <= {item["id"] for item in everything}
        seqs = [item["seq"] for item in everything]
        assert seqs == list(range(len(seqs), 0, -1))  # newest first, without a gap
        created = pages(client, "/api/v1/activity", action="member.created")
        assert len({item["target"]["id"] for item in created}) == len(created) >= len(wanted)

        actor = f"user:{sent[0]['actor']['id']}"
        assert {item["id"] for item in pages(client, "/api/v1/activity", actor=actor)} == {
            event["id"] for event in sent if f"user:{event['actor']['id']}" == actor
        }
        oldest_first = pages(client, "/api/v1/activity", order="oldest", action=sent[0]["action"])
        assert [item["seq"] for item in oldest_first] == sorted(item["seq"] for item in oldest_first)
        year = [event["id"] for event in sent if datetime.fromisoformat(event["at"]).astimezone(UTC).year == 2012]
        found = pages(client, "/api/v1/activity", **{"from": "2012-01-01T00:00:00Z", "to": "2012-12-31T23:59:59.999Z"})
        assert {item["id"] for item in found} == set(year)
    for client in clients.values():
        client.close()

"""Valkey is killed in mid-job, and comes back with nothing in it: the job ends, and so does one whose hint was lost."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.journeys.test_import_export import finished
from tests.system import System, wait_for

pytestmark = pytest.mark.xdist_group("system")


def test_jobs_end_though_valkey_is_killed_meanwhile(system: System) -> None:
    token = system.tenant("acme")["token"]
    prefix = uuid4().hex[:8]
    rows = "".join(f"{prefix}-{number}@people.example\n" for number in range(60_000))
    with system.client("acme", token=token) as client:
        sent = client.post("/api/v1/members/import", content=f"email\n{rows}", headers={"Content-Type": "text/csv"})
        job = sent.json()
        wait_for(lambda: client.get(f"/api/v1/jobs/{job['id']}").json()["done"] > 0, timeout=30, what="progress")
        worker = system["pids"]["worker"]
        former = system.kill("redis")
        second = client.post("/api/v1/jobs", json={"kind": "members.export", "params": {"q": prefix}})
        assert second.status_code == 202
        assert finished(client, job)["state"] == "succeeded"
        assert client.get(f"/api/v1/jobs/{job['id']}").json()["counts"]["created"] == 60_000
        wait_for(lambda: system.reload()["pids"]["redis"] != former, timeout=30, what="a new Valkey")
        export = finished(client, second.json())
        assert export["state"] == "succeeded"
        assert export["done"] == 60_000
    assert system.reload()["pids"]["worker"] == worker  # it went on: neither it nor its jobs were started anew

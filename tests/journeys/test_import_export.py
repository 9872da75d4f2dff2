"""A list of people goes in by the API as a program sends it, and comes out the same by each way out, from `web` and from `stream`.

The list has the shape of a real project's; TENANTRY_MEMBERS names a real one (CSV) to take in its place.
"""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest

from tests.journeys.test_real_input import NAMES
from tests.system import System, wait_for

pytestmark = pytest.mark.xdist_group("system")


def people() -> bytes:
    path = os.environ.get("TENANTRY_MEMBERS")
    if path:
        return Path(path).read_bytes()
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["email", "name", "role"])
    for number in range(1500):
        writer.writerow([f"{uuid4().hex[:12]}@people.example", f"{NAMES[number % 10]} {number}", "member"])
    return text.getvalue().encode()


def finished(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """The job, once it has ended."""

    def end() -> dict[str, Any] | None:
        now: dict[str, Any] = client.get(f"/api/v1/jobs/{job['id']}").json()
        return now if now["state"] in {"succeeded", "failed", "cancelled"} else None

    found: dict[str, Any] = wait_for(end, timeout=60, what=f"the end of {job}")
    return found


def test_a_list_goes_in_and_comes_out_the_same(system: System) -> None:
    content = people()
    wanted = {row["email"]: row["name"].strip() for row in csv.DictReader(io.StringIO(content.decode(), newline=""))}
    token = system.tenant("globex")["token"]
    with system.client("globex", token=token) as web, system.client("globex", token=token, part="stream") as stream:
        answer = web.post("/api/v1/members/import", content=content, headers={"Content-Type": "text/csv"})
        assert answer.status_code == 202, answer.text
        job = finished(web, answer.json())
        assert job["state"] == "succeeded"
        assert job["done"] == job["total"] == len(wanted)
        assert job["counts"]["created"] + job["counts"]["unchanged"] == len(wanted)

        export = web.post("/api/v1/jobs", json={"kind": "members.export", "params": {"format": "ndjson"}}).json()
        result = web.get(finished(web, export)["result_url"])
        outs = [web.get("/api/v1/members.ndjson"), stream.get("/api/v1/members.ndjson"), result]
        for out in outs:
            members = {member["email"]: member for member in map(json.loads, out.text.splitlines())}
            assert {email: members[email]["name"] for email in wanted} == wanted
        assert outs[0].text == outs[1].text == outs[2].text

        as_csv = [front.get("/api/v1/members.csv") for front in (web, stream)]
        assert as_csv[0].text == as_csv[1].text
        again = web.post("/api/v1/members/import", files={"file": ("out.csv", as_csv[0].content)})
        job = finished(web, again.json())
        assert job["counts"] == {"created": 0, "updated": 0, "unchanged": job["total"], "refused": 0}
        assert len(web.get(job["report_url"]).text.splitlines()) == 1  # the header alone


@pytest.mark.parametrize("part", ["web", "stream"])
def test_a_download_takes_no_memory_of_its_own(system: System, part: str) -> None:
    """60,000 rows, six megabytes, six times: the processes grow by less than one of the files."""
    token = system.tenant("globex")["token"]
    with system.client("globex", token=token) as web:
        if web.get("/api/v1/members", params={"q": "bulk59999@"}).json()["items"] == []:
            rows = "".join(f"bulk{number}@people.example,Bulk {number}\n" for number in range(60_000))
            sent = web.post(
                "/api/v1/members/import", content=f"email,name\n{rows}", headers={"Content-Type": "text/csv"}
            )
            assert finished(web, sent.json())["state"] == "succeeded"
    with system.client("globex", token=token, part=part) as client:
        size = len(client.get("/api/v1/members.csv").content)
        assert size > 5_000_000
        before = memory(system, part)
        for _ in range(6):
            assert len(client.get("/api/v1/members.csv").content) == size
        assert memory(system, part) - before < size


def memory(system: System, part: str) -> int:
    """Bytes in RAM of all processes of a part."""
    process = psutil.Process(int(system.reload()["pids"][part]))
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))

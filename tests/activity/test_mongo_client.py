"""The process's client of MongoDB, as `/ready?detail` tells of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from activity import mongo
from tenants.clients import MONGO
from tenants.refs import TenantRef
from tests.system import wait_for

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import json, time
import django
django.setup()
from activity import mongo
from tenants import clients

assert mongo.is_up()
while clients.MONGO.state == "unknown":  # a thread of pymongo tells
    time.sleep(0.05)
before = clients.status()["mongo"]
clients.close_all(1.0)
print(json.dumps([before, clients.status()["mongo"]]))
"""


def test_it_is_ok_once_it_has_talked_and_counts_its_connections(tenant: TenantRef) -> None:
    assert mongo.is_up()
    wait_for(lambda: MONGO.state == "ok", what="what pymongo tells")
    told = MONGO.as_dict()
    assert told["connections"] >= 1
    assert told["in_use"] == 0
    # What was told of the server may be older than the connection, where others have just been cut.
    wait_for(lambda: set(MONGO.as_dict()["servers"].values()) != {"Unknown"}, what="the server's kind")


def test_the_end_of_a_process_closes_it() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    before, after = (dict[str, Any](told) for told in json.loads(answer.stdout))
    assert (before["state"], before["in_use"]) == ("ok", 0)
    assert before["connections"] >= 1
    assert after["connections"] == 0

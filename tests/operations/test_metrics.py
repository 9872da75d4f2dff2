"""`/metrics`: the numbers of every process of the machine, told by any of them."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.operations.processes import FrontEnd

pytestmark = pytest.mark.usefixtures("committed_tenant")


def values(answer: httpx.Response, name: str, **labels: str) -> list[float]:
    """The values of the samples of that name with these labels."""
    return [
        sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


def test_each_process_tells_the_requests_of_all(front_end: Callable[..., FrontEnd]) -> None:
    web, stream = front_end("web", WEB_CONCURRENCY="2"), front_end("stream")
    count = "tenantry_request_duration_seconds_count"
    for _ in range(20):  # over new connections, so that both workers get some
        assert web.get("/", host="nobody.example").status_code == 404
    for _ in range(3):
        stream.get("/", host="nobody.example")
    for front in (web, web, web, web, stream):
        answer = front.get("/metrics")
        assert sum(values(answer, count, process="web", route="(none)", status="4xx", method="GET")) == 20
        assert sum(values(answer, count, process="stream", route="(none)", status="4xx", method="GET")) == 3


def test_a_restart_begins_with_empty_numbers(front_end: Callable[..., FrontEnd]) -> None:
    web = front_end("web")
    web.get("/", host="nobody.example")
    web.started.terminate()
    again = front_end("web").get("/metrics")
    assert values(again, "tenantry_request_duration_seconds_count", route="(none)") == []


def test_it_tells_of_parts_replicas_pools_queue_tenants_and_processes(front_end: Callable[..., FrontEnd]) -> None:
    web, stream = front_end("web", WEB_CONCURRENCY="1"), front_end("stream")
    assert web.get("/login", host="acme.localhost").status_code in {200, 404}
    stream.get("/live")
    answer = web.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert {
        value for part in ("control", "mongo", "valkey", "broker") for value in values(answer, "tenantry_up", part=part)
    } == {1.0}
    (lag,) = values(answer, "tenantry_replica_lag_bytes")
    assert lag >= 0
    assert values(answer, "tenantry_queue_depth", queue="tenantry")[0] >= 0
    assert values(answer, "tenantry_tenants", state="active")[0] >= 2
    assert sum(values(answer, "tenantry_pool_size", process="web")) >= 1
    assert sum(values(answer, "tenantry_pool_requests_num_total", process="web")) >= 1
    assert values(answer, "tenantry_process_resident_memory_bytes", process="stream")[0] > 1_000_000
    assert values(answer, "tenantry_event_loop_delay_seconds_count", process="stream")


def test_it_is_for_this_machine_on_the_control_host_alone(front_end: Callable[..., FrontEnd]) -> None:
    web = front_end("web")
    assert web.get("/metrics").status_code == 200
    assert web.get("/metrics", X_Forwarded_For="203.0.113.7").status_code == 401
    assert web.get("/metrics", host="acme.localhost").status_code == 404
    assert web.get("/metrics", host="nobody.example").status_code == 404

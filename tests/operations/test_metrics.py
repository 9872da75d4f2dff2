"""`/metrics`: the numbers of every process of the machine, told by any of them."""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.operations.conftest import Start
from tests.operations.processes import FrontEnd
from tests.system import wait_for

COUNT = "tenantry_request_duration_seconds_count"


def values(answer: httpx.Response, name: str, **labels: str) -> list[float]:
    """The values of the samples of that name with these labels."""
    return [
        sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


def not_found(answer: httpx.Response, process: str) -> float:
    """How many requests of that kind of process had no route."""
    return sum(values(answer, COUNT, process=process, route="(none)", status="4xx", method="GET"))


def test_each_process_tells_the_requests_of_all(fronts: dict[str, FrontEnd]) -> None:
    web, stream = fronts["web"], fronts["stream"]
    before = web.get("/metrics")
    for _ in range(20):  # each over a new connection, so that both workers get some
        assert web.get("/", host="nobody.example").status_code == 404
    for _ in range(3):
        stream.get("/", host="nobody.example")
    for front in (web, web, web, web, stream):
        answer = front.get("/metrics")
        assert not_found(answer, "web") - not_found(before, "web") == 20
        assert not_found(answer, "stream") - not_found(before, "stream") == 3


def test_a_restart_begins_with_empty_numbers(start: Start) -> None:
    web = start("web")
    web.get("/", host="nobody.example")
    assert values(web.get("/metrics"), COUNT, route="(none)", status="4xx") == [1.0]
    web.started.terminate()
    assert values(start("web").get("/metrics"), COUNT, route="(none)", status="4xx") == []


def test_it_tells_of_parts_replicas_pools_queue_tenants_and_processes(fronts: dict[str, FrontEnd]) -> None:
    web, stream = fronts["web"], fronts["stream"]
    for _ in range(4):
        web.get("/login", host="acme.localhost")
    stream.get("/live")
    for _ in range(4):  # a process notes its pools' numbers when it is asked, so ask both
        answer = web.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain")
    for part in ("control", "mongo", "valkey", "broker"):
        assert values(answer, "tenantry_up", part=part) == [1.0]
    (lag,) = values(answer, "tenantry_replica_lag_bytes")
    assert lag >= 0
    assert values(answer, "tenantry_queue_depth", queue="tenantry")[0] >= 0
    assert values(answer, "tenantry_tenants", state="active")[0] >= 2
    assert sum(values(answer, "tenantry_pool_size", process="web")) >= 1
    assert sum(values(answer, "tenantry_pool_requests_num_total", process="web")) >= 1
    assert values(answer, "tenantry_process_resident_memory_bytes", process="stream")[0] > 1_000_000
    assert values(answer, "tenantry_event_loop_delay_seconds_count", process="stream")


def test_it_is_for_this_machine_on_the_control_host_alone(front: FrontEnd) -> None:
    assert front.get("/metrics").status_code == 200
    assert front.get("/metrics", X_Forwarded_For="203.0.113.7").status_code == 401
    assert front.get("/metrics", host="acme.localhost").status_code == 404
    assert front.get("/metrics", host="nobody.example").status_code == 404


def test_statements_are_counted_by_plan(fronts: dict[str, FrontEnd]) -> None:
    web = fronts["web"]

    def told() -> float:
        return sum(values(web.get("/metrics"), "tenantry_statements_total", process="web", plan="free"))

    before = [told() for _ in range(4)][-1]
    for _ in range(8):
        assert web.get("/api/v1/me", host="acme.localhost", Authorization="Bearer tnt_nobody").status_code == 401
    # A process notes its numbers when it is asked, and either may be.
    wait_for(lambda: told() >= before + 8, what="the statements of both processes")
    assert values(web.get("/metrics"), "tenantry_statement_seconds_total", process="web", plan="free")[0] > 0

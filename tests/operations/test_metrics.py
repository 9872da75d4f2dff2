"""`/metrics`: the numbers of every process of the machine, told by any of them."""

from __future__ import annotations

from datetime import timedelta

import httpx
from django.db.models.functions import Now
from prometheus_client.parser import text_string_to_metric_families

from tenants import metrics
from tenants.context import use_control
from tenants.ids import new_id
from tenants.models import JobSummary
from tenants.refs import TenantRef
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
    assert values(answer, "tenantry_tenants_waiting_for_a_turn")[0] >= 0
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


def test_jobs_that_wait_and_run_are_counted_by_kind(tenants: dict[str, TenantRef]) -> None:
    with use_control():
        for state, minutes in (("queued", 5), ("queued", 1), ("running", 9), ("succeeded", 20)):
            JobSummary.objects.create(
                id=new_id(), kind="tests.counted", state=state, finished_at=Now() if state == "succeeded" else None
            )
            newest = JobSummary.objects.order_by("-id")[:1].values("id")
            JobSummary.objects.filter(pk__in=newest).update(created_at=Now() - timedelta(minutes=minutes))
        found = {
            (family.name, sample.labels.get("kind")): sample.value
            for family in metrics._job_families()
            for sample in family.samples
        }
    assert found["tenantry_jobs_waiting", "tests.counted"] == 2
    assert found["tenantry_jobs_running", "tests.counted"] == 1
    assert 300 <= found["tenantry_job_oldest_wait_seconds", "tests.counted"] < 330

"""What is measured, and `/metrics` in Prometheus' text format.

Requests, tasks, the event loop and each process are measured where they happen; the numbers of all processes of a
machine come together in tenants.metrics_folder. What is the same seen from any process (replica lag, the queue,
tenants by state) is asked when the page is asked for.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Count, F, Max
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from tenants import metrics_folder

if TYPE_CHECKING:
    from tenants.probes import Report

_SHARED = metrics_folder.share()

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector  # noqa: E402
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest  # noqa: E402
from prometheus_client.metrics_core import GaugeMetricFamily, Metric  # noqa: E402

from tenants.db import pools  # noqa: E402
from tenants.db.measured import statements  # noqa: E402
from tenants.db.numbers import COUNTERS  # noqa: E402
from tenants.request_id import route_of  # noqa: E402

SAMPLE_SECONDS = 5.0
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

REQUESTS = Histogram(
    "tenantry_request_duration_seconds",
    "Time from a request's first line read to its answer's head written.",
    ["method", "route", "status"],
    buckets=_SECONDS,
)
TASKS = Histogram(
    "tenantry_task_duration_seconds",
    "Time that a task ran, by its outcome: succeeded, failed or retried.",
    ["task", "outcome"],
    buckets=(*_SECONDS, 60.0, 300.0),
)
LOOP_DELAY = Histogram(
    "tenantry_event_loop_delay_seconds",
    "How much later than asked for the event loop of `stream` woke a sleeper: what every stream waits.",
    ["loop"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
)
EVENTS_APPENDED = Counter("tenantry_events_appended", "Activity events that relays have appended to the log.")
TENANTS_TO_RELAY = Gauge(
    "tenantry_tenants_to_relay",
    "Tenants that were written to since a relay last looked into their outbox, as the last sweep found them.",
    multiprocess_mode="mostrecent",
)
JOB_RUN_TIME = Histogram(
    "tenantry_job_run_seconds",
    "An attempt at a job, from the claim to its end, by kind and the state that it was left in.",
    ["kind", "state"],
    buckets=(0.01, 0.1, 1.0, 10.0, 60.0, 300.0, 1800.0, 7200.0),
)
PLAN_REFUSALS = Counter(
    "tenantry_plan_limit_refusals", "What was refused because a plan has no more of it.", ["meter", "plan"]
)
FOLLOWERS = Gauge(
    "tenantry_activity_followers", "Clients that follow an activity log in `stream`.", multiprocess_mode="livesum"
)
_POOL_GAUGES = {
    key: Gauge(
        f"tenantry_pool_{key.removeprefix('pool_')}",
        f"{key} of psycopg_pool's statistics, added up over the processes of a kind.",
        ["pool"],
        multiprocess_mode="livesum",
    )
    for key in ("pool_min", "pool_max", "pool_size", "pool_available", "requests_waiting")
}
_POOL_COUNTERS = {
    key: Counter(f"tenantry_pool_{key}", f"{key} of psycopg_pool's statistics.", ["pool"]) for key in COUNTERS
}
_STATEMENT_COUNTERS = {
    "count": Counter("tenantry_statements", "Statements sent to Postgres, by the plan of the tenant.", ["plan"]),
    "seconds": Counter("tenantry_statement_seconds", "Time that their senders waited for answers.", ["plan"]),
    "slow": Counter("tenantry_slow_statements", "Statements that took SLOW_STATEMENT_MS or longer.", ["plan"]),
}
_PROCESS_GAUGES = {
    key: Gauge(f"tenantry_{key}", text, ["kind"], multiprocess_mode="liveall")
    for key, text in {
        "process_resident_memory_bytes": "Memory of the process that is in RAM.",
        "process_open_fds": "Open file descriptors of the process.",
        "process_start_time_seconds": "When the process started, in seconds since 1970.",
        "process_threads": "Threads of the process.",
    }.items()
}
_CPU = Counter("tenantry_process_cpu_seconds", "Processor time used, user and system.", ["kind"])

_process = ProcessCollector(registry=None)
_former: dict[tuple[str, str], float] = {}
_sampler_pid: int | None = None
_sampler_lock = threading.Lock()
_sample_lock = (
    threading.Lock()
)  # who asks for the page samples too, and growth that two have seen is none that may be added twice


# --- Measuring --------------------------------------------------------------------------------------------------------


def observe_request(*, method: str, route: str, status: int, seconds: float) -> None:
    """Count a request. Statuses are kept by class, since their exact number multiplies the series."""
    REQUESTS.labels(method if method in _METHODS else "OTHER", route, f"{status // 100}xx").observe(seconds)


def observe_task(*, task: str, outcome: str, seconds: float) -> None:
    """Count a run of a task."""
    TASKS.labels(task, outcome).observe(seconds)


class RequestMetricsMiddleware:
    """Measures every request that Django serves."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        start_sampler()
        started = time.perf_counter()
        response = self.get_response(request)
        observe_request(
            method=request.method or "",
            route=route_of(request),
            status=response.status_code,
            seconds=time.perf_counter() - started,
        )
        return response


def sample() -> None:
    """Note the numbers of this process that aren't noted as they change: its pools', its statements' and its own."""
    with _sample_lock:
        _sample()


def _sample() -> None:
    for pool in pools.of_every_kind():
        stats = pool.get_stats()
        for key, gauge in _POOL_GAUGES.items():
            gauge.labels(pool.name).set(stats[key])
        for key, counter in _POOL_COUNTERS.items():
            counter.labels(pool.name).inc(_growth(pool.name, key, stats[key]))
    for plan, noted in statements().items():
        for key, counter in _STATEMENT_COUNTERS.items():
            counter.labels(plan).inc(_growth(f"plan {plan}", key, getattr(noted, key)))
    kind = settings.TENANTRY_PROCESS
    for family in _process.collect():
        for measured in family.samples:
            if measured.name in _PROCESS_GAUGES:
                _PROCESS_GAUGES[measured.name].labels(kind).set(measured.value)
            elif measured.name == "process_cpu_seconds_total":
                _CPU.labels(kind).inc(_growth("process", "cpu", measured.value))
    _PROCESS_GAUGES["process_threads"].labels(kind).set(threading.active_count())


def _growth(owner: str, key: str, value: float) -> float:
    """How much a count of this process grew since it was last asked for; it starts anew after a fork."""
    former = _former.get((owner, key), 0.0)
    _former[owner, key] = value
    return value - former if value >= former else value


def start_sampler() -> None:
    """Sample this process in a thread of its own from now on. Cheap when it does so already."""
    global _sampler_pid
    if _sampler_pid == os.getpid():
        return
    with _sampler_lock:
        if _sampler_pid != os.getpid():
            _sampler_pid = os.getpid()
            threading.Thread(target=_sample_forever, name="metrics", daemon=True).start()


def _sample_forever() -> None:
    while True:
        sample()
        time.sleep(SAMPLE_SECONDS)


async def sample_in_loop() -> None:
    """Sample a process that runs an event loop, and measure how late the loop is."""
    global _sampler_pid
    _sampler_pid = os.getpid()  # no thread besides
    delay = LOOP_DELAY.labels("main")
    interval = 0.5
    rounds = round(SAMPLE_SECONDS / interval)
    count = 0
    while True:
        if count % rounds == 0:
            sample()
        count += 1
        started = time.perf_counter()
        await asyncio.sleep(interval)
        delay.observe(max(0.0, time.perf_counter() - started - interval))


def _forget_parent() -> None:
    """A forked child's counts start at nought, but for what its parent had: those are the parent's."""
    global _sampler_lock, _sample_lock
    _sampler_lock = threading.Lock()
    _sample_lock = threading.Lock()
    _former.clear()


os.register_at_fork(after_in_child=_forget_parent)


# --- Telling ----------------------------------------------------------------------------------------------------------


class _Asked:
    """What is asked when the page is asked for."""

    def collect(self) -> Iterator[Metric]:
        from tenants import health

        report = health.report_sync()
        yield from _part_families(report)
        for path in settings.TENANTS_METRICS:
            yield from import_string(path)()
        if report.state != "down":
            yield _tenant_family()
            yield from _job_families()


def _part_families(report: Report) -> Iterator[Metric]:
    up = GaugeMetricFamily("tenantry_up", "1 when a part answered its probe.", labels=["part"])
    lag = GaugeMetricFamily(
        "tenantry_replica_lag_bytes", "Bytes of WAL that a replica has not replayed.", labels=["server", "replica"]
    )
    depth = GaugeMetricFamily(
        "tenantry_queue_depth", "Messages in the broker that no worker has taken.", labels=["queue"]
    )
    for part in (report.control, *report.servers, *report.others):
        up.add_metric([part.name], float(part.state != "down"))
        for replica in part.facts.get("replicas", ()):
            up.add_metric([f"{part.name}/{replica['name']}"], float(replica["state"] != "down"))
            if "lag_bytes" in replica:
                lag.add_metric([part.name, replica["name"]], replica["lag_bytes"])
        if "queue_depth" in part.facts:
            depth.add_metric([settings.CELERY_TASK_DEFAULT_QUEUE], part.facts["queue_depth"])
    yield up
    yield lag
    yield depth


def _tenant_family() -> Metric:
    from tenants.models import Tenant

    family = GaugeMetricFamily("tenantry_tenants", "Tenants by state.", labels=["state"])
    counts = dict(Tenant.objects.values_list("state").annotate(Count("id")).order_by())
    for state in Tenant.State:
        family.add_metric([state.value], counts.get(state.value, 0))
    return family


def _job_families() -> Iterator[Metric]:
    from tenants.models import JobSummary, JobTurn

    labels = ["kind", "plan"]  # control has no plan
    depth = GaugeMetricFamily("tenantry_jobs_waiting", "Jobs that wait for their turn.", labels=labels)
    running = GaugeMetricFamily("tenantry_jobs_running", "Jobs that workers have.", labels=labels)
    oldest = GaugeMetricFamily(
        "tenantry_job_oldest_wait_seconds",
        "How long the job has waited that has waited longest.",
        labels=labels,
    )
    unfinished = JobSummary.objects.filter(finished_at=None, state__in=["queued", "running"]).order_by()
    groups = unfinished.values("kind", "state", "tenant__plan")
    for row in groups.annotate(count=Count("id"), longest=Max(Now() - F("created_at"))):
        group = [row["kind"], row["tenant__plan"] or ""]
        (depth if row["state"] == "queued" else running).add_metric(group, row["count"])
        if row["state"] == "queued":
            oldest.add_metric(group, max(0.0, row["longest"].total_seconds()))
    yield depth
    yield running
    yield oldest
    waiting = GaugeMetricFamily(
        "tenantry_tenants_waiting_for_a_turn", "Tenants (and control) whose jobs wait for their turn."
    )
    waiting.add_metric([], JobTurn.objects.filter(is_waiting=True).count())
    yield waiting


class _Shared:
    """What all processes of this machine measured."""

    def collect(self) -> Iterator[Metric]:
        return metrics_folder.collect()


def pool_numbers() -> dict[tuple[str, str], dict[str, float]]:
    """The gauges and counts of the pools by pool and kind of process, by psycopg_pool's keys, added up over this machine's processes."""
    sample()
    if not _SHARED:
        return {
            (pool.name, settings.TENANTRY_PROCESS): {key: float(value) for key, value in pool.get_stats().items()}
            for pool in pools.of_every_kind()
        }
    keys = {metric._name: key for key, metric in (*_POOL_GAUGES.items(), *_POOL_COUNTERS.items())}
    found: dict[tuple[str, str], dict[str, float]] = {}
    for family in metrics_folder.collect():
        key = keys.get(family.name)
        for measured in family.samples if key else ():
            numbers = found.setdefault(
                (measured.labels["pool"], measured.labels["process"]), dict.fromkeys(keys.values(), 0.0)
            )
            numbers[str(key)] += measured.value
    return found


def pool_totals() -> dict[str, dict[str, float]]:
    """The gauges of each pool, by psycopg_pool's keys, added up over the processes of this machine."""
    if not _SHARED:
        return {
            pool.name: {key: float(value) for key, value in pool.get_stats().items()} for pool in pools.of_every_kind()
        }
    keys = {gauge._name: key for key, gauge in _POOL_GAUGES.items()}
    totals: dict[str, dict[str, float]] = {}
    for family in metrics_folder.collect():
        if family.name in keys:
            for measured in family.samples:
                use = totals.setdefault(measured.labels["pool"], dict.fromkeys(_POOL_GAUGES, 0.0))
                use[keys[family.name]] += measured.value
    return totals


def exposition() -> bytes:
    """Everything, in Prometheus' text format. The control database is asked."""
    sample()
    registry = CollectorRegistry()
    registry.register(_Asked())
    asked = generate_latest(registry)
    if not _SHARED:
        return generate_latest(REGISTRY) + asked
    shared = CollectorRegistry()
    shared.register(_Shared())
    return generate_latest(shared) + asked


def metrics_view(request: HttpRequest) -> HttpResponse:
    """`GET /metrics` on the control host, for this machine or with an operator's token."""
    from tenants.health import may_see_details, refuse_details

    if not may_see_details(request):
        return refuse_details(request)
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})

"""Where the processes of this machine put their numbers, so that any one of them can tell those of all.

prometheus_client keeps a process's numbers in mapped files when PROMETHEUS_MULTIPROC_DIR is set before it is first
imported. Each kind of process has a folder of its own under METRICS_DIR, emptied when that kind starts; `/metrics`
adds them all up and labels them with the kind. METRICS_DIR must be local to a machine (pids and locks mean nothing
elsewhere) and shared by its processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def share() -> bool:
    """Write into this kind's folder. Call before prometheus_client is imported. False on the command line."""
    if settings.TENANTRY_PROCESS == "cli":
        os.environ.pop(_VARIABLE, None)
        return False
    folder = _folder(settings.TENANTRY_PROCESS)
    folder.mkdir(parents=True, exist_ok=True)
    os.environ[_VARIABLE] = str(folder)
    return True


def wipe() -> None:
    """Empty this kind's folder. Call when the kind starts, before it forks: a former run's numbers are history."""
    for file in _folder(settings.TENANTRY_PROCESS).glob("*.db"):
        file.unlink(missing_ok=True)


def collect() -> Iterator[Metric]:
    """The numbers of every process of this machine, each sample labelled with the kind of process."""
    from prometheus_client.metrics_core import Metric
    from prometheus_client.multiprocess import MultiProcessCollector

    families: dict[str, Metric] = {}
    for folder in sorted(path for path in settings.METRICS_DIR.iterdir() if path.is_dir()):
        _forget_dead(folder)
        for part in MultiProcessCollector(None, path=str(folder)).collect():  # type: ignore[no-untyped-call]
            family = families.setdefault(part.name, Metric(part.name, part.documentation, part.type))
            for sample in part.samples:
                family.samples.append(sample._replace(labels={"process": folder.name, **sample.labels}))
    yield from families.values()


def _folder(process: str) -> Path:
    return Path(settings.METRICS_DIR) / process


def _forget_dead(folder: Path) -> None:
    """Drop the gauges of processes that are gone. Their counters stay: a counter must not run backwards."""
    for file in folder.glob("gauge_live*.db"):
        pid = file.stem.rpartition("_")[2]
        if not Path("/proc", pid).exists():
            file.unlink(missing_ok=True)

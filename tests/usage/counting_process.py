"""A process that counts usage until SIGTERM: `python -m tests.usage.counting_process <tenant id> <file> <seconds between flushes>`.

What it has counted is in the file, written before each flush can have it; the last line is written when it has ended in order.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path

import django

django.setup()

from tenants import clients, directory, usage  # noqa: E402
from tenants.context import use_control  # noqa: E402

if __name__ == "__main__":
    tenant_id, path, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    usage.FLUSH_SECONDS = seconds  # type: ignore[misc]
    usage.END_SECONDS = 20.0  # type: ignore[misc]
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with use_control():
        ref = directory.by_id(tenant_id)
    usage.start_flusher()
    count = 0
    with path.open("w") as file:
        while not ended.is_set():
            count += 1
            file.write(f"{count}\n")
            file.flush()
            usage.count(ref, requests=1, job_seconds=0.5)
            time.sleep(0.001)
        clients.close_all(timeout=5.0)
        file.write("ended\n")

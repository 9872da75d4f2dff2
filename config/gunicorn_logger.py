"""gunicorn's own log lines, in the form of all others (tenants.logs)."""

import os
from typing import Any

from gunicorn.glogging import Logger  # type: ignore[import-untyped]

from tenants import logs


class StructuredLogger(Logger):  # type: ignore[misc]
    """Leaves writing to the root logger. It also sets that one up for the arbiter, which loads no Django."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for logger in (self.error_log, self.access_log):
            logger.handlers.clear()
            logger.propagate = True
        process = os.environ.get("TENANTRY_PROCESS", "web")
        logs.configure(logs.config(process=process, level=os.environ.get("LOG_LEVEL", "INFO").upper()))

"""Structured logs, the same for web, stream, worker, beat and the command line.

Each occurrence is one line with a name and its facts: JSON when a machine reads along, key=value when a person watches
a terminal. What libraries log through `logging` takes the same way. Every line says the process, the tenant that is
active and the request it belongs to, and passes `redact` last, so that no password, token or sign-in link gets out,
tracebacks included.
"""

from __future__ import annotations

import logging.config
import os
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from tenants.context import active

REDACTED = "[redacted]"

# Names of facts whose value is never written. `token_id` and `token_prefix` are names of something else.
_SECRET_NAME = re.compile(
    r"(?:^|[_-])(?:authorization|cookies?|passw(?:or)?d|secret|tokens?|credentials?|api_?key|private_key|secret_key|session_?id|csrf\w*"
    r"|sign_?in_link|url_with_password)$",
    re.IGNORECASE,
)
_SECRETS_IN_TEXT = (
    # postgres://user:password@host
    (re.compile(r"(?<=://)([^\s:/@]*):[^\s/@]+@"), rf"\1:{REDACTED}@"),
    # Authorization: Bearer …
    (re.compile(r"\b(bearer|basic)\s+(?=\S*\d)[\w.~+/=-]{12,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    # ?token=…  password='…'  "secret": "…"  {'sessionid': '…'}
    (
        re.compile(
            r"((?:password|passwd|secret|token|api_?key|authorization|cookie|sessionid|credentials|signature)['\"]?\s*[:=]\s*['\"]?)"
            r"(?!\[redacted\])[^\s&'\",;)}\]]+",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"([?&](?:key|code|t|s)=)[^\s&'\"]+", re.IGNORECASE), rf"\1{REDACTED}"),
    # a link's secret part: Django's password reset (timestamp-hash), a signed value (payload:timestamp:signature),
    # random letters
    (re.compile(r"\b[0-9a-z]{6,8}-[0-9a-f]{32,64}\b"), REDACTED),
    (re.compile(r"[\w.=-]+:[\w-]{5,8}:[\w-]{27,86}\b"), REDACTED),
    (re.compile(r"\btnt_[\w-]{8,}"), REDACTED),
    (re.compile(r"(?<=/)(?=[\w-]*\d)(?=[\w-]*[a-z])(?=[\w-]*[A-Z])[\w-]{20,}"), REDACTED),
)
# Short words and paths that none of the above can match, so that a line of such facts costs little: those without `:`, `=`, `?`, `@` and
# spaces that are too short for a link's secret part, which is 39 characters, or 20 after a slash.
_HARMLESS_TEXT = re.compile(r"(?!.*tnt_)(?:[\w.+-]{0,38}|[\w./<>-]{0,20})\Z")
# Written by this module's own processors, over whatever a caller may have said.
_OWN_FACTS = frozenset({"timestamp", "level", "process", "pid"})
# A fact is nested no deeper than this; what is deeper was not meant for a log.
_DEPTH = 6


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """A processor of structlog: takes secrets out of the facts by their names and out of all text by their looks."""
    return {name: value if name in _OWN_FACTS else _redacted(name, value, _DEPTH) for name, value in event.items()}


def redact_text(text: str) -> str:
    """The text without what looks like a secret."""
    if _HARMLESS_TEXT.match(text):
        return text
    for pattern, replacement in _SECRETS_IN_TEXT:
        text = pattern.sub(replacement, text)
    return text


@lru_cache(1024)
def _is_secret_name(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _redacted(name: str, value: Any, depth: int) -> Any:
    if _is_secret_name(name) and value not in (None, "", True, False):
        return REDACTED
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth and isinstance(value, Mapping):
        return {str(key): _redacted(str(key), item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", item, depth - 1) for item in value]
    return redact_text(str(value))


def _add_tenant(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    ref = active()
    if ref is not None:
        event.setdefault("tenant", ref.slug)
    return event


class _AddProcess:
    """Says which kind of process writes the line, and its pid (asked each time: workers are forked)."""

    def __init__(self, process: str) -> None:
        self.process = process

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event["process"] = self.process
        event["pid"] = os.getpid()
        return event


def _json(event: EventDict, **options: Any) -> str:
    first = {name: event.pop(name) for name in ("timestamp", "level", "event") if name in event}  # where eyes look
    return orjson.dumps({**first, **event}, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _renderer() -> Processor:
    if sys.stderr is not None and sys.stderr.isatty():
        return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return structlog.processors.JSONRenderer(serializer=_json)


def _shared_processors(process: str) -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        _add_tenant,
        _AddProcess(process),
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def config(*, process: str, level: str = "INFO") -> dict[str, Any]:
    """The value of settings.LOGGING for a kind of process. Lines go to stderr: stdout is for what a command prints."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _shared_processors(process),
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    structlog.processors.StackInfoRenderer(),
                    redact,
                    _renderer(),
                ],
            },
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Django's own handlers would write a second, unredacted line, or mail it.
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            "django.server": {"handlers": [], "level": "INFO", "propagate": True},
            # A 404 is said by the request's line; what is left are the tracebacks of 500s.
            "django.request": {"level": "ERROR"},
            "django.db.backends": {"level": "INFO"},  # at DEBUG it writes parameters
            "gunicorn.error": {"handlers": [], "level": "INFO", "propagate": True},
            "gunicorn.access": {"handlers": [], "level": "INFO", "propagate": True},
            # Each task has a line of django-structlog's; Celery would say it again, with the result in prose.
            "celery.app.trace": {"level": "CRITICAL"},
            "celery.worker.strategy": {"level": "WARNING"},
            "celery.beat": {"level": "WARNING"},
            # billiard's, which keeps its lines from the root logger: without a handler Python writes them as they are.
            "multiprocessing": {"handlers": ["stderr"], "propagate": False},
            "django_structlog": {"level": "INFO"},
            "kombu": {"level": "WARNING"},
            "pymongo": {"level": "WARNING"},
        },
        "process": process,
    }


def configure(logging_config: dict[str, Any]) -> None:
    """Set up `logging` and structlog together. Django calls it, since settings.LOGGING_CONFIG names it."""
    options = dict(logging_config)
    process = options.pop("process")
    logging.config.dictConfig(options)
    logging.captureWarnings(True)
    # Python's own advice for what a record needn't know (Logging HOWTO, "Optimization"): our lines name no thread and no source line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    setattr(logging, "_srcfile", None)  # noqa: B010
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared_processors(process),
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )

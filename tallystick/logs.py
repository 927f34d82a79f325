"""Structured logs: one JSON object a line on stderr.

An exception is logged by type and place only: its message and its locals may
hold traffic.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections import Counter
from collections.abc import MutableMapping
from typing import Any

import structlog

alarms: Counter[str] = Counter()
"""Alarms of this process, by what they are of."""


def count_alarms(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A line `"event": "alarm"` is counted too: for the metrics."""
    if event["event"] == "alarm":
        alarms[event["alarm"]] += 1
    return event


def place_only(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replaces exc_info by the exception's type and the file and line it came from."""
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        last = traceback.extract_tb(error.__traceback__)[-1:]
        if last:
            event["at"] = f"{last[0].filename.rpartition('/')[2]}:{last[0].lineno}"
    return event


class _ThroughStructlog(logging.Handler):
    """The standard library's loggers (asyncio, uvicorn): level, name and place; never their text's arguments."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        structlog.get_logger().log(record.levelno, str(record.msg)[:200], logger=record.name, exc_info=error)


def configure(role: str) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            count_alarms,
            place_only,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(role=role)
    logging.basicConfig(level=logging.WARNING, handlers=[_ThroughStructlog()], force=True)

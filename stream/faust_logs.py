"""What Faust, mode and aiokafka may say: at which place something of what level was said, never the words.

At DEBUG they log each key and value that they send or drop, and some errors carry
them at any level. Their loggers get one handler that takes no text and no arguments,
and hand nothing on to the root logger, whatever is set there.
"""

from __future__ import annotations

import logging

import structlog

_THEIRS = ("faust", "mode", "aiokafka", "stream.faust_app", "stream.faust_rows")
"""The last two are theirs too: mode names the logger of a subclass by the subclass's module."""


class PlaceOnly(logging.Handler):
    """Level, logger, file and line, and the type of an exception."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[0] if record.exc_info else None
        structlog.get_logger().log(
            record.levelno,
            "said by a library",
            logger=record.name,
            at=f"{record.filename}:{record.lineno}",
            error=None if error is None else error.__name__,
        )


def quieten() -> None:
    """Once a process, before Faust is started. Warnings and worse are told."""
    for name in _THEIRS:
        logger = logging.getLogger(name)
        logger.handlers[:] = [PlaceOnly()]
        logger.propagate = False
        logger.setLevel(logging.WARNING)

"""One structured log for every service: JSON lines for machines, short lines for a terminal."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Literal

from derivfleet.common.optional_packages import without
from derivfleet.common.redaction import redact

# It draws tracebacks with rich where it finds that, and loads it at once: 5 MB a process, and a log needs none of it.
with without("rich", "greenlet"):
    import structlog

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from derivfleet.common.clock import Clock

__all__ = ["bind_context", "configure_logs", "get_logger"]

get_logger = structlog.get_logger
bind_context = structlog.contextvars.bind_contextvars
"""What every later line of this task says."""


def _redact_value(value: object) -> object:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, int | float | bool | None):
        return value
    return redact(str(value))


def configure_logs(service: str, clock: Clock, output: Literal["json", "text"] = "json", level: str = "info") -> None:
    """Send this process's logs to standard error, each line with time, service, and the ids bound to its context."""

    def stamp(_logger: object, _method: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
        event["time_ns"] = clock.now_ns()
        event["service"] = service
        return event

    def censor(_logger: object, _method: str, event: MutableMapping[str, object]) -> MutableMapping[str, object]:
        return {key: _redact_value(value) for key, value in event.items()}

    number = logging.getLevelNamesMapping()[level.upper()]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if output == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            stamp,
            structlog.processors.format_exc_info,
            censor,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )

    class Forward(logging.Handler):
        """Libraries log through the standard module; their lines take the same road."""

        def emit(self, record: logging.LogRecord) -> None:
            structlog.get_logger().log(record.levelno, record.getMessage(), logger=record.name)

    logging.basicConfig(handlers=[Forward()], level=max(number, logging.WARNING), force=True)

"""One structured log for every service: JSON lines for machines, short lines for a terminal."""

from __future__ import annotations

import logging
import re
import sys
from collections import deque
from typing import TYPE_CHECKING, Literal

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

    from derivfleet.common.clock import Clock

__all__ = ["configure_logs", "hide", "hide_for_a_while", "is_suspect", "redact"]

_PASSING_KEPT = 100
_SHAPES = re.compile(r"(otp=|token=|Bearer\s+|://[^:/@\s]+:)[^\s&\"'@]+")
_MARKS = (b"otp=", b"token=", b"Bearer", b"://")
"""Each of the shapes has one of these."""
_MIN_SECRET_LENGTH = 6


class _Hidden:
    """What must not be shown. Every log line and every attribute of every span is searched for it."""

    def __init__(self) -> None:
        self._lasting: set[str] = set()
        self._passing: deque[str] = deque(maxlen=_PASSING_KEPT)
        self.secrets: tuple[str, ...] = ()
        self.shortest = sys.maxsize

    def add(self, secrets: Iterable[str], *, lasting: bool) -> None:
        long = [secret for secret in secrets if len(secret) >= _MIN_SECRET_LENGTH]
        if lasting:
            self._lasting.update(long)
        else:
            self._passing.extend(long)
        self.secrets = (*self._lasting, *self._passing)
        self.shortest = min(map(len, self.secrets), default=sys.maxsize)


_hidden = _Hidden()


def hide(*secrets: str) -> None:
    """Make sure that these strings never reach a log line, an error or a span of this process."""
    _hidden.add(secrets, lasting=True)


def hide_for_a_while(*secrets: str) -> None:
    """As :func:`hide`, for secrets that are soon worthless and never end coming: only the newest are remembered."""
    _hidden.add(secrets, lasting=False)


def redact(text: str) -> str:
    """Replace every known secret, and everything shaped like one, by ``***``."""
    if len(text) >= _hidden.shortest:
        for secret in _hidden.secrets:
            text = text.replace(secret, "***")
    # Nearly no text has a mark that every shape has one of.
    if "=" in text or "://" in text or "Bearer" in text:
        return _SHAPES.sub(r"\1***", text)
    return text


def is_suspect(data: bytes) -> bool:
    """Whether there may be something in it that :func:`redact` replaces: a quick look, for much data at a time."""
    return any(mark in data for mark in _MARKS) or any(secret.encode() in data for secret in _hidden.secrets)


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

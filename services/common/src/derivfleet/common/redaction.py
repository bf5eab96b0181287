"""What must not be shown: secrets of this process, and what is shaped like one, are cut out of every text it tells."""

from __future__ import annotations

import re
import sys
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["hide", "hide_for_a_while", "is_suspect", "redact"]

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

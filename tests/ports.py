"""Ports for services that must be told theirs before they listen."""

from __future__ import annotations

import secrets
import socket
from collections import deque

__all__ = ["free_port"]

FIRST, LAST = 15_000, 30_000
"""Below those that the system itself gives to whoever does not choose."""
MARKS_KEPT = 200
_marks: deque[socket.socket] = deque()


def free_port(*beside: int) -> int:
    """A port that nobody listens on, and that no other test is given while this one gets ready to.

    Those at the distances ``beside`` from it are so, too. Each is marked by holding the UDP port of its number.
    """
    while True:
        base = secrets.randbelow(LAST - FIRST) + FIRST
        marks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in (0, *beside)]
        try:
            for mark, distance in zip(marks, (0, *beside), strict=True):
                mark.bind(("127.0.0.1", base + distance))
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", base + distance))
        except OSError:
            for mark in marks:
                mark.close()
            continue
        _marks.extend(marks)
        while len(_marks) > MARKS_KEPT:
            _marks.popleft().close()
        return base

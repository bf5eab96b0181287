"""How many sockets an account may have at one time."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from derivfleet.probe.core.findings import Confidence, Finding, unknown

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["SocketStep", "sockets_course"]


class SocketStep(StrEnum):
    """What to do next."""

    OPEN = "open"
    CLOSE = "close"
    """Close the newest."""


def sockets_course(held: int, most: int) -> Generator[SocketStep, int, Finding[int]]:
    """Open sockets until there are no more, at most up to ``most``; ``held`` are open at the start.

    Each step is answered with the number of sockets that then answer. Another one may be refused, or let in at the
    cost of an older one: either way there are not more than before.
    """
    alive = held
    while alive < most:
        alive = yield SocketStep.OPEN
        if alive <= held:
            break
        held = alive
    else:
        return Finding(Confidence.CONSISTENT, (held,), "at least: no more were tried")
    if alive < held:
        return unknown(f"of {held} sockets only {alive} still answered: the line may be bad")
    # Was it the number of sockets, or did they come too fast, or Deriv not answer?
    alive = yield SocketStep.CLOSE
    if alive != held - 1:
        return unknown(f"of {held} sockets {alive} were left after one was closed")
    alive = yield SocketStep.OPEN
    if alive != held:
        return unknown(
            f"after {held} sockets none was let in, not even in the place of one: something else was limited"
        )
    alive = yield SocketStep.OPEN
    if alive != held:
        return unknown(f"after {held} sockets one more was let in at the second try: something else was limited")
    return Finding(Confidence.MEASURED, (held,), "there were never more; one that was closed made room for one")

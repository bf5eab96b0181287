"""How many streams one socket may hold.

Deriv refuses one stream too many with the same words as one call too many. So after a refusal a stream is ended and
another opened in its place: if that works, and one more is refused again, it is the number of streams that counts.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from derivfleet.probe.core.findings import Confidence, Finding, unknown

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["StreamReply", "StreamStep", "streams_course"]

PROOFS = 2
"""How often the end of one stream must make room for exactly one: a call limit that happens to be met does so once."""


class StreamStep(StrEnum):
    """What to do next."""

    OPEN = "open"
    """Open a stream that is not open yet."""
    END = "end"
    """End one."""


class StreamReply(StrEnum):
    """What came of it."""

    DONE = "done"
    REFUSED = "refused"
    """With Deriv's word for too many."""
    NONE_LEFT = "none left"
    """There is nothing more to open, or to end."""
    FAILED = "failed"
    """It went wrong in another way."""


def streams_course(held: int, most: int) -> Generator[StreamStep, StreamReply, Finding[int]]:
    """Open streams until one is refused, at most up to ``most`` on the socket, of which ``held`` are there already."""
    while held < most:
        reply = yield StreamStep.OPEN
        if reply is StreamReply.REFUSED:
            break
        if reply is not StreamReply.DONE:
            return _at_least(held, "there was nothing more to open" if reply is StreamReply.NONE_LEFT else "one failed")
        held += 1
    else:
        return _at_least(held, "no more were tried")
    for _ in range(PROOFS):
        if (yield StreamStep.END) is not StreamReply.DONE or (yield StreamStep.OPEN) is not StreamReply.DONE:
            return unknown(f"the end of a stream made no room after {held}: calls may have been limited, not streams")
        if (yield StreamStep.OPEN) is not StreamReply.REFUSED:
            return unknown(f"one more than {held} was let through later: calls may have been limited, not streams")
    return Finding(Confidence.MEASURED, (held,), "one more was refused, until one of them was ended")


def _at_least(held: int, because: str) -> Finding[int]:
    return Finding(Confidence.CONSISTENT, (held,), f"at least: {because}") if held else unknown(because)

"""Makes a failing case small: takes out pieces for as long as it fails in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["shrunk"]

MOST_TRIES = 300


async def shrunk(case: bytes, fails: Callable[[bytes], Awaitable[bool]], tries: int = MOST_TRIES) -> bytes:
    """The smallest case that was found within so many tries. ``fails`` tells whether one fails as the whole does."""
    size = len(case) // 2
    while size and tries:
        at = 0
        while at < len(case) and tries:
            tries -= 1
            candidate = case[:at] + case[at + size :]
            if await fails(candidate):
                case = candidate
            else:
                at += size
        size //= 2
    return case

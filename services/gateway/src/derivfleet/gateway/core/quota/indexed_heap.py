"""A heap of things, each in it at most once, the one with the lowest value first.

Whoever is placed anew or leaves only makes the old entry invalid; it is dropped when it comes to the top.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Generic, TypeVar

from derivfleet.gateway.core.quota.call_log import NEVER_NS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["IndexedHeap"]

T = TypeVar("T")
TIDY = 64
"""Invalid entries are dropped when there are more of them than this, and than of things."""


class IndexedHeap(Generic[T]):
    """Things in order of their values; among equals who came first is first."""

    __slots__ = ("_count", "_entries", "_valid")

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, T]] = []
        self._valid: dict[T, tuple[int, int, T]] = {}
        """Of each thing that is in, its only valid entry."""
        self._count = 0

    def __len__(self) -> int:
        """Entries that are kept, the invalid ones with them."""
        return len(self._entries)

    def place(self, thing: T, value: int) -> None:
        """Put a thing in its place; where it was before counts no more."""
        self._count += 1
        entry = self._valid[thing] = (value, self._count, thing)
        heappush(self._entries, entry)
        if len(self._entries) > 2 * len(self._valid) + TIDY:
            self._entries = list(self._valid.values())
            heapify(self._entries)

    def remove(self, thing: T) -> None:
        """Take a thing out; no harm if it is not in."""
        self._valid.pop(thing, None)

    def first(self, until: int | None = None) -> T | None:
        """The thing with the lowest value; None if there is none, or it is higher than ``until``."""
        entries, valid = self._entries, self._valid
        while entries and (until is None or entries[0][0] <= until):
            entry = entries[0]
            if valid.get(entry[2]) is entry:
                return entry[2]
            heappop(entries)
        return None

    def lowest(self) -> int:
        """The lowest value; NEVER_NS if there is none."""
        return NEVER_NS if self.first() is None else self._entries[0][0]

    def __iter__(self) -> Iterator[T]:
        """All things that are in, in no order."""
        return iter(self._valid)

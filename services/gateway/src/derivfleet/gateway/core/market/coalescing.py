"""Coalescing: one call for all who ask the same.

What may be kept for the next one, for how long, and how many calls that saved.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Cache", "HistoryQuery", "KeptStreams", "Saving", "Savings", "Source", "rows_to_ask"]

K = TypeVar("K")
V = TypeVar("V")
NS_PER_S = 10**9

RUNGS = (100, 1000, 5000)
"""How many rows Deriv is asked for: a call costs the same whatever its length, and so fewer lengths serve everybody."""
CLOSED_AFTER_S = 60
"""Nothing is added to the past of more than a minute ago. The minute is for clocks that differ and records that lag."""


class Source(StrEnum):
    """Where an answer came from."""

    DERIV = "deriv"
    """A call of its own."""
    SHARED = "shared"
    """A call that was under way for somebody who had asked the same."""
    LOCAL = "local"
    """What was known here."""


class Saving(StrEnum):
    """What was asked for, when a call was saved."""

    TICKS = "ticks"
    HISTORY = "history"
    CONTRACT = "contract"


@dataclass(slots=True)
class Savings:
    """Calls that were not made, because one of the same was made already or its answer was still good."""

    counts: dict[str, int] = field(default_factory=lambda: {str(kind): 0 for kind in Saving})
    """By kind, since the gateway started."""

    def count(self, kind: Saving) -> None:
        self.counts[kind] += 1


class HistoryQuery(NamedTuple):
    """Which history: so many rows up to a second (0: up to now), ticks (granularity 0) or candles of that length."""

    symbol: str
    rows: int
    end_epoch_s: int
    granularity_s: int

    def is_closed(self, last_epoch_s: int, now_ns: int) -> bool:
        """Whether an answer whose last row is of an epoch will be the same for ever.

        A row beyond the end shows that Deriv gave something else than the range: one too long ago is silently replaced
        by the latest. A candle that holds the end may be given up to the end or as a whole; so it has to have ended.
        """
        length_s = self.granularity_s
        end_s = self.end_epoch_s - self.end_epoch_s % length_s + length_s if length_s else self.end_epoch_s
        return last_epoch_s <= self.end_epoch_s and end_s + CLOSED_AFTER_S <= now_ns // NS_PER_S


def rows_to_ask(count: int) -> int:
    """How many rows to ask Deriv for when somebody wants the latest ``count`` (1 to 5000)."""
    return next(rung for rung in RUNGS if rung >= count)


class Cache(Generic[K, V]):
    """What never changes, as much of it as has room; what was not asked for longest goes first."""

    def __init__(self, room: int) -> None:
        """``room`` is in the unit of the weights given to :meth:`put`, as bytes."""
        self._room = room
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self.weight = 0

    def get(self, key: K) -> V | None:
        found = self._held.get(key)
        if found is None:
            return None
        self._held.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, weight: int) -> None:
        _, old = self._held.pop(key, (None, 0))
        self._held[key] = value, weight
        self.weight += weight - old
        while self.weight > self._room:
            _, (_, gone) = self._held.popitem(last=False)
            self.weight -= gone


class KeptStreams:
    """Which symbols' tick streams are kept open after somebody asked for their latest prices.

    Nobody is put out to make room: if more symbols were in turn than there is room for, streams would be opened and
    ended all the time, each for a call, and save none.
    """

    def __init__(self, most: int, lasts_ns: int) -> None:
        self._most = most
        self._lasts_ns = lasts_ns
        self._until_ns: OrderedDict[str, int] = OrderedDict()
        self._refused: set[str] = set()

    def ask(self, symbol: str, now_ns: int) -> bool:
        """Somebody asks for a symbol; returns whether its stream is to be open, from now on for a while."""
        is_full = symbol not in self._until_ns and len(self._until_ns) >= self._most
        if is_full or symbol in self._refused:
            return False
        self._until_ns[symbol] = now_ns + self._lasts_ns
        self._until_ns.move_to_end(symbol)
        return True

    def refuse(self, symbol: str) -> None:
        """Deriv refused the stream; it is not asked for it again for a while."""
        if symbol in self._until_ns:
            self._refused.add(symbol)

    @property
    def wake_ns(self) -> int | None:
        """When :meth:`due` has to be called next; None: when somebody has asked again."""
        return next(iter(self._until_ns.values()), None)

    def due(self, now_ns: int) -> list[str]:
        """Symbols that nobody has asked for in a while; their streams are no longer kept."""
        gone = [symbol for symbol, until_ns in self._until_ns.items() if until_ns <= now_ns]
        for symbol in gone:
            del self._until_ns[symbol]
            self._refused.discard(symbol)
        return gone

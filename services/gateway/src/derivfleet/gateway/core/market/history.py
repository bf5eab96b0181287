"""The latest prices of one symbol, kept current from its tick stream, so that Deriv need not be asked for them again.

The recent ticks are a run without a hole. What Deriv answered and what its stream tells are joined only where they
overlap or touch. Wherever a tick may be missing (a gap, a message that could not be read, a stream that was opened
again further on), the run begins anew, and what lies before it has to be asked for again.

Touching can be proved only where ticks keep to a grid. Elsewhere two parts have to share a tick.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from derivfleet.deriv.candles import Candle
from derivfleet.gateway.core.quota import DRIFT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from derivfleet.deriv.ticks import Tick
    from derivfleet.gateway.core.market.coalescing import HistoryQuery

    Price = tuple[int, Decimal]
    """Epoch second and quote."""

__all__ = ["MOST", "Candles", "RecentTicks"]

MOST = 5000
"""Rows kept, and rows that Deriv gives at once: its cap on ``count``, observed by third parties."""
SLACK = 500
"""Rows are dropped so many at a time."""
NS_PER_S = 1_000_000_000
_epoch_s = itemgetter(0)


class Candles:
    """The latest candles of one length, the running one last."""

    def __init__(self, granularity_s: int, answered: Sequence[Candle], asked: int) -> None:
        """``answered`` is Deriv's answer to a request for the latest ``asked`` candles; it must not be empty."""
        self._granularity_s = granularity_s
        self._candles = list(answered)
        self._most = MOST if len(answered) >= asked else len(answered)
        self.is_settled = False
        """Whether the running candle is known to stand where the ticks stand. An answer does not say which tick was its
        last, so it can be ahead of the stream; with the stream's next tick it no longer is.
        """

    def take(self, epoch_s: int, quote: Decimal) -> None:
        """The next tick. One that the running candle holds already does no harm, if those after it follow."""
        start_s = epoch_s - epoch_s % self._granularity_s
        last = self._candles[-1]
        if start_s == last.epoch_s:
            self._candles[-1] = Candle(start_s, last.open, max(last.high, quote), min(last.low, quote), quote)
        elif start_s > last.epoch_s:
            self._candles.append(Candle(start_s, quote, quote, quote, quote))
            if len(self._candles) > MOST + SLACK:
                del self._candles[:SLACK]
        self.is_settled = True

    def latest(self, count: int) -> tuple[Candle, ...] | None:
        """The last ``count`` candles, oldest first, or None if Deriv has to be asked."""
        if not self.is_settled or count > min(self._most, len(self._candles)):
            return None
        return tuple(self._candles[-count:])


class RecentTicks:
    """The latest ticks of one symbol, and the candles that are made of them."""

    def __init__(self, spacing_s: int | None, fresh_ns: int) -> None:
        """``spacing_s`` is the grid that the symbol's ticks keep to, None if there is none.

        They are not current if the stream has told nothing for longer than ``fresh_ns``: its socket may be dead. Nor
        are they if the latest tick was made so long ago: after a pause old ticks come late, one by one.
        """
        self._spacing_s = spacing_s
        self._fresh_ns = fresh_ns
        self._ticks: list[Price] = []
        self._most = MOST
        self._candles: dict[int, Candles] = {}
        self._stream: str | None = None
        self._told_s: int | None = None
        """The latest tick that the stream has told since it was opened."""
        self._heard_ns = 0
        """When the latest tick came, or would have come had it been as quick as the quickest."""
        self._ahead_ns: int | None = None
        """Deriv's clock ahead of ours, less what the quickest tick took."""
        self._run = 0
        self.decimals: int | None = None
        self.answers: dict[HistoryQuery, Any] = {}
        """What was made of these ticks for who had asked so. It goes whenever it would be made otherwise."""

    def is_current(self, now_ns: int) -> bool:
        """Whether the last tick here is the symbol's last tick."""
        return self._told_s is not None and bool(self._ticks) and now_ns - self._heard_ns <= self._fresh_ns

    # What is asked of it

    def latest(self, count: int, now_ns: int) -> tuple[Price, ...] | None:
        """The last ``count`` ticks, oldest first, as Deriv would give them now; None if Deriv has to be asked."""
        if not self.is_current(now_ns) or count > min(self._most, len(self._ticks)):
            return None
        return tuple(self._ticks[-count:])

    def until(self, end_s: int, count: int) -> tuple[Price, ...] | None:
        """The last ``count`` ticks up to a second that has passed; None if Deriv has to be asked."""
        end = bisect_right(self._ticks, end_s, key=_epoch_s)
        if count > min(self._most, end) or self._ticks[-1][0] < end_s:
            return None
        return tuple(self._ticks[end - count : end])

    def candles(self, granularity_s: int, count: int, now_ns: int) -> tuple[Candle, ...] | None:
        """The last ``count`` candles, the running one included; None if Deriv has to be asked."""
        series = self._candles.get(granularity_s)
        return series.latest(count) if series is not None and self.is_current(now_ns) else None

    def mark(self, now_ns: int) -> int | None:
        """To be taken before Deriv is asked for candles, and given back with its answer; None if there is no run that
        the answer could be joined to.
        """
        return self._run if self.is_current(now_ns) else None

    # What it is told

    def take(self, tick: Tick, stream: str | None, now_ns: int) -> None:
        """A message of the tick stream; ``stream`` is its id, another one whenever the stream was opened again."""
        if stream != self._stream:
            self._stream, self._told_s = stream, None
        told_s, self._told_s = self._told_s, max(tick.epoch_s, self._told_s or 0)
        self._heard_ns = now_ns if self._spacing_s is None else self._due_ns(tick.epoch_s, now_ns)
        self.decimals = tick.decimals
        if self._ticks and tick.epoch_s <= self._ticks[-1][0]:
            return
        if self._ticks and not self._follows(tick.epoch_s, told_s):
            self._begin_again()
        self._ticks.append((tick.epoch_s, tick.quote))
        self._tell_candles(tick.epoch_s, tick.quote)
        if len(self._ticks) > MOST + SLACK:
            del self._ticks[:SLACK]
        self.answers.clear()

    def lose(self) -> None:
        """The stream's latest message could not be read."""
        self._begin_again()
        self._told_s = None
        self.answers.clear()

    def fill(self, answered: Sequence[Price], asked: int, decimals: int, now_ns: int) -> None:
        """Deriv's answer to a request for the latest ``asked`` ticks, made at ``now_ns``."""
        if not answered:
            return
        first_s, last_s = answered[0][0], answered[-1][0]
        if self._ticks and not self._joined(last_s, self._ticks[0][0]):
            return  # there is a hole between it and the run, and the stream goes on with the run
        if len(answered) < asked:
            self._most = len(answered)  # Deriv has its reasons; whoever wants more shall ask it
        elif len(answered) > self._most:
            self._most = MOST
        self.decimals = decimals
        if self._spacing_s is None:
            self._heard_ns = max(self._heard_ns, now_ns)  # where no tick is due, an answer tells as much as silence
        if self._ticks and not self._joined(self._ticks[-1][0], first_s):
            self._begin_again()
        known_s = self._ticks[-1][0] if self._ticks else last_s
        start = bisect_left(self._ticks, first_s, key=_epoch_s)
        end = bisect_right(self._ticks, last_s, key=_epoch_s)
        newer = self._ticks[end:]
        self._ticks = [*self._ticks[:start], *answered][-MOST:]
        for epoch_s, quote in answered[bisect_right(answered, known_s, key=_epoch_s) :]:
            self._tell_candles(epoch_s, quote)
        self._ticks += newer
        self.answers.clear()

    def fill_candles(self, granularity_s: int, answered: Sequence[Candle], asked: int, mark: int | None) -> None:
        """Deriv's answer to a request for the latest ``asked`` candles; ``mark`` is of before the request."""
        if not answered or mark is None or mark != self._run:
            return
        series = self._candles[granularity_s] = Candles(granularity_s, answered, asked)
        # Deriv made its answer after the mark was taken, but perhaps from records that were a little behind.
        for epoch_s, quote in self._ticks[bisect_left(self._ticks, answered[-1].epoch_s, key=_epoch_s) :]:
            series.take(epoch_s, quote)
        last_s, quote = self._ticks[-1]
        series.is_settled = last_s >= answered[-1].epoch_s and quote == answered[-1].close
        self.answers.clear()

    # How it is done

    def _joined(self, early_s: int, late_s: int) -> bool:
        """Whether a part that ends with one tick and one that begins with another have no hole between them."""
        return late_s <= early_s or (self._spacing_s is not None and late_s - early_s == self._spacing_s)

    def _follows(self, epoch_s: int, told_s: int | None) -> bool:
        """Whether a tick that is new is the very next; ``told_s`` is the one that the same stream told before it."""
        last_s = self._ticks[-1][0]
        if self._spacing_s is not None:
            return epoch_s - last_s == self._spacing_s
        return self._stream is not None and told_s == last_s

    def _due_ns(self, epoch_s: int, now_ns: int) -> int:
        """When a tick that comes now was due by our clock: not by what clocks say, but by how late others were."""
        ahead_ns = epoch_s * NS_PER_S - now_ns
        if self._ahead_ns is not None:
            ahead_ns = max(ahead_ns, self._ahead_ns - round((now_ns - self._heard_ns) * DRIFT))
        self._ahead_ns = ahead_ns
        return epoch_s * NS_PER_S - ahead_ns

    def _begin_again(self) -> None:
        self._ticks.clear()
        self._candles.clear()
        self._run += 1

    def _tell_candles(self, epoch_s: int, quote: Decimal) -> None:
        for series in self._candles.values():
            series.take(epoch_s, quote)

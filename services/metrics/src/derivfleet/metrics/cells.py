"""What spans add up to: one cell for each minute and bot, made of numbers that merge by addition. Pure."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from math import ceil, log
from typing import TYPE_CHECKING, NamedTuple

from derivfleet.common.spans import SpanName
from derivfleet.metrics.sketch import PER_LOG, ZERO

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "CALL",
    "ERROR",
    "HOUR_S",
    "LEVELS_S",
    "MINUTE_S",
    "OPERATION",
    "WAIT",
    "WINDOW_S",
    "Cell",
    "Cells",
    "SpanRow",
    "pieces",
]

MINUTE_S, WINDOW_S, HOUR_S = 60, 300, 3_600
LEVELS_S = (MINUTE_S, WINDOW_S, HOUR_S)
"""The pieces of time that are kept: minutes for two days (for the live page), five minutes and hours for ever."""

OPERATION, ERROR, CALL, WAIT = "op ", "error ", "call ", "wait "
"""What a name in a cell begins with: calls to the gateway, error codes, calls to Deriv, waits by their cause."""

_NS_PER_S = 1_000_000_000
_MINUTE_NS = MINUTE_S * _NS_PER_S
_LATE_NS = 2 * WINDOW_S * _NS_PER_S
_AHEAD_NS = _NS_PER_S
_MOST_NAMES = 200
"""Of one kind in one cell: names come from whoever sends, and a cell is read with each report."""
_OTHER = "other"
_SERIES: dict[str, str] = {
    SpanName.DECIDE: "decide",
    SpanName.BUY: "buy",
    SpanName.FOLLOW: "follow",
    SpanName.SETTLE: "settle",
    SpanName.TRADE: "trade",
    **{name: OPERATION + name for name in SpanName if name.startswith("gateway.")},
}
_OPERATIONS: frozenset[str] = frozenset(name for name in SpanName if name.startswith("gateway."))


class SpanRow(NamedTuple):
    """A received span as far as figures need it; a tuple, for there are twenty thousand in a second.

    ``weight``: how many spans it stands for, where its sender keeps only a sample. ``parent`` and ``key`` are the last
    eight bytes of the trace id and the span id.
    """

    name: str
    account: str
    bot: str
    order_id: str
    call: str
    bucket: str
    state: str
    error_code: str
    rate_refused: bool
    start_ns: int
    end_ns: int
    weight: int
    key: bytes
    parent: bytes
    stake: str
    profit: str


@dataclass(slots=True)
class Cell:
    """Counts by name; times by name, in nanoseconds; and the bins of the sketch of each time."""

    counts: dict[str, int] = field(default_factory=dict[str, int])
    sums_ns: dict[str, int] = field(default_factory=dict[str, int])
    bins: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])

    def add(self, other: Cell) -> None:
        """Make this the sum of both."""
        for name, count in other.counts.items():
            self.count(name, count)
        for name, sum_ns in other.sums_ns.items():
            self.sums_ns[name] = self.sums_ns.get(name, 0) + sum_ns
        for name, bins in other.bins.items():
            own = self.bins.setdefault(name, {})
            for number, count in bins.items():
                own[number] = own.get(number, 0) + count

    def count(self, name: str, count: int) -> None:
        """A count of zero is no count: what was added and taken away again leaves nothing."""
        total = self.counts.get(name, 0) + count
        if total:
            self.counts[name] = total
        else:
            self.counts.pop(name, None)

    def named(self, prefix: str) -> dict[str, int]:
        """The counts whose name begins so, without that beginning."""
        return {name[len(prefix) :]: count for name, count in self.counts.items() if name.startswith(prefix)}

    def body(self) -> bytes:
        """As it is stored: the same sums give the same bytes."""
        bins = {name: [n for pair in sorted(one.items()) for n in pair] for name, one in self.bins.items()}
        text = json.dumps([self.counts, self.sums_ns, bins], sort_keys=True, separators=(",", ":"))
        return zlib.compress(text.encode(), 6)

    @classmethod
    def of(cls, body: bytes) -> Cell:
        counts, sums_ns, bins = json.loads(zlib.decompress(body))
        return cls(counts, sums_ns, {name: dict(zip(one[::2], one[1::2], strict=True)) for name, one in bins.items()})


class Cells:
    """Cells by (account, bot, minute). What a span adds depends on nothing but the span and the time of its arrival."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str, int], Cell] = {}
        self.spans = 0

    def __len__(self) -> int:
        return len(self._cells)

    def cell(self, account: str, bot: str, end_ns: int) -> Cell:
        """The cell that a span with this end belongs to."""
        key = (account, bot, end_ns // _MINUTE_NS)
        found = self._cells.get(key)
        if found is None:
            found = self._cells[key] = Cell()
        return found

    def add(self, row: SpanRow, received_ns: int) -> None:  # noqa: C901 - the hot path: calls would double its cost
        """Count one span."""
        self.spans += 1
        name, weight, end_ns = row.name, row.weight, row.end_ns
        cell = self.cell(row.account, row.bot, end_ns)
        counts = cell.counts
        counts["spans"] = counts.get("spans", 0) + 1
        if weight != 1:
            counts["sampled"] = counts.get("sampled", 0) + 1
            counts["stood for"] = counts.get("stood for", 0) + weight
        series = _SERIES.get(name)
        if series is None:
            if name == SpanName.QUOTA_WAIT:
                series = _bounded(WAIT + row.bucket, cell.sums_ns)
            elif name == SpanName.DERIV_CALL:
                series = _bounded(CALL + row.call, cell.sums_ns)
                counts[series] = counts.get(series, 0) + weight
                if row.rate_refused:
                    counts["refused"] = counts.get("refused", 0) + weight
        elif name in _OPERATIONS:
            counts[series] = counts.get(series, 0) + weight
            if row.error_code:
                error = _bounded(ERROR + row.error_code, counts)
                counts[error] = counts.get(error, 0) + weight
        if series is not None:
            took_ns = end_ns - row.start_ns
            number = ceil(log(took_ns) * PER_LOG) if took_ns > 0 else ZERO
            bins = cell.bins.get(series)
            if bins is None:
                bins = cell.bins[series] = {}
            bins[number] = bins.get(number, 0) + weight
            cell.sums_ns[series] = cell.sums_ns.get(series, 0) + took_ns * weight
        lead_ns = end_ns - received_ns
        if lead_ns > _AHEAD_NS:
            counts["ahead"] = counts.get("ahead", 0) + 1
            lead = cell.bins.setdefault("ahead", {})
            number = ceil(log(lead_ns) * PER_LOG)
            lead[number] = lead.get(number, 0) + 1
        elif lead_ns < -_LATE_NS:
            counts["late"] = counts.get("late", 0) + 1

    def rolled_up(self, level_s: int) -> Iterator[tuple[int, str, str, Cell]]:
        """(start in seconds, account, bot, sum) for each piece of a level."""
        sums: dict[tuple[int, str, str], Cell] = {}
        for (account, bot, minute), cell in self._cells.items():
            start_s = minute * MINUTE_S
            sums.setdefault((start_s - start_s % level_s, account, bot), Cell()).add(cell)
        for key in sorted(sums):
            yield *key, sums[key]


def _bounded(name: str, known: dict[str, int]) -> str:
    if name in known or len(known) < _MOST_NAMES:
        return name
    return name.partition(" ")[0] + " " + _OTHER


def pieces(start_s: int, end_s: int, levels_s: tuple[int, ...] = LEVELS_S) -> list[tuple[int, int, int]]:
    """The fewest pieces (level, start, end of the run) that fill [start, end), in order of time.

    Neighbours of one level are one run. What no level divides is not covered: ask for whole minutes.
    """
    runs: list[tuple[int, int, int]] = []
    at_s = start_s
    while at_s < end_s:
        level_s = next((one for one in reversed(levels_s) if at_s % one == 0 and at_s + one <= end_s), 0)
        if not level_s:
            raise ValueError(f"{start_s} to {end_s} is not made of whole pieces of {levels_s[0]} s")
        if runs and runs[-1][0] == level_s and runs[-1][2] == at_s:
            runs[-1] = (level_s, runs[-1][1], at_s + level_s)
        else:
            runs.append((level_s, at_s, at_s + level_s))
        at_s += level_s
    return runs

"""What spans add up to: one aggregate for each minute and bot, made of numbers that merge by addition. Pure."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from math import ceil, log
from typing import TYPE_CHECKING

from derivfleet.common.clock import NS_PER_S
from derivfleet.common.spans import SpanName
from derivfleet.metrics.sums.latency_sketch import PER_LOG, ZERO
from derivfleet.metrics.sums.time_levels import MINUTE_S, WINDOW_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from derivfleet.metrics.records.span import SpanRow

__all__ = [
    "CALL",
    "ERROR",
    "OPERATION",
    "WAIT",
    "MinuteAggregates",
    "SpanAggregate",
]

OPERATION, ERROR, CALL, WAIT = "op ", "error ", "call ", "wait "
"""What a name in an aggregate begins with: calls to the gateway, error codes, calls to Deriv, waits by their cause."""

_MINUTE_NS = MINUTE_S * NS_PER_S
_LATE_NS = 2 * WINDOW_S * NS_PER_S
_AHEAD_NS = NS_PER_S
_MOST_NAMES = 200
"""Of one kind in one aggregate: names come from whoever sends, and an aggregate is read with each report."""
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


@dataclass(slots=True)
class SpanAggregate:
    """Counts by name; times by name, in nanoseconds; and the bins of the sketch of each time."""

    counts: dict[str, int] = field(default_factory=dict[str, int])
    sums_ns: dict[str, int] = field(default_factory=dict[str, int])
    bins: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])

    def add(self, other: SpanAggregate) -> None:
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
    def of(cls, body: bytes) -> SpanAggregate:
        counts, sums_ns, bins = json.loads(zlib.decompress(body))
        return cls(counts, sums_ns, {name: dict(zip(one[::2], one[1::2], strict=True)) for name, one in bins.items()})


class MinuteAggregates:
    """Aggregates by (account, bot, minute). What a span adds depends on nothing but it and the time of its arrival."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str, int], SpanAggregate] = {}
        self.spans = 0

    def __len__(self) -> int:
        return len(self._cells)

    def at(self, account: str, bot: str, end_ns: int) -> SpanAggregate:
        """The aggregate that a span with this end belongs to."""
        key = (account, bot, end_ns // _MINUTE_NS)
        found = self._cells.get(key)
        if found is None:
            found = self._cells[key] = SpanAggregate()
        return found

    def add(self, row: SpanRow, received_ns: int) -> None:  # noqa: C901 - the hot path: calls would double its cost
        """Count one span."""
        self.spans += 1
        name, weight, end_ns = row.name, row.weight, row.end_ns
        aggregate = self.at(row.account, row.bot, end_ns)
        counts = aggregate.counts
        counts["spans"] = counts.get("spans", 0) + 1
        if weight != 1:
            counts["sampled"] = counts.get("sampled", 0) + 1
            counts["stood for"] = counts.get("stood for", 0) + weight
        series = _SERIES.get(name)
        if series is None:
            if name == SpanName.QUOTA_WAIT:
                series = _bounded(WAIT + row.bucket, aggregate.sums_ns)
            elif name == SpanName.DERIV_CALL:
                series = _bounded(CALL + row.call, aggregate.sums_ns)
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
            bins = aggregate.bins.get(series)
            if bins is None:
                bins = aggregate.bins[series] = {}
            bins[number] = bins.get(number, 0) + weight
            aggregate.sums_ns[series] = aggregate.sums_ns.get(series, 0) + took_ns * weight
        lead_ns = end_ns - received_ns
        if lead_ns > _AHEAD_NS:
            counts["ahead"] = counts.get("ahead", 0) + 1
            lead = aggregate.bins.setdefault("ahead", {})
            number = ceil(log(lead_ns) * PER_LOG)
            lead[number] = lead.get(number, 0) + 1
        elif lead_ns < -_LATE_NS:
            counts["late"] = counts.get("late", 0) + 1

    def rolled_up(self, level_s: int) -> Iterator[tuple[int, str, str, SpanAggregate]]:
        """(start in seconds, account, bot, sum) for each piece of a level."""
        sums: dict[tuple[int, str, str], SpanAggregate] = {}
        for (account, bot, minute), aggregate in self._cells.items():
            start_s = minute * MINUTE_S
            sums.setdefault((start_s - start_s % level_s, account, bot), SpanAggregate()).add(aggregate)
        for key in sorted(sums):
            yield *key, sums[key]


def _bounded(name: str, known: dict[str, int]) -> str:
    if name in known or len(known) < _MOST_NAMES:
        return name
    return name.partition(" ")[0] + " " + _OTHER

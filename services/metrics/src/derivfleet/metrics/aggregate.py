"""From the rows of one period to its figures: per bot, for the fleet, per limit, and what was not seen.

Pure: rows in, figures out. Which period a row belongs to is decided by the reader of the rows: a span by its end, a
purchase by its confirmation, money by its settlement.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from derivfleet.common.spans import SpanName
from derivfleet.metrics.quota import quota_figures

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from derivfleet.metrics.quota import Limits, QuotaFigures

__all__ = [
    "PHASES",
    "BotFigures",
    "CompletenessFigures",
    "Figures",
    "PeriodRows",
    "PhaseFigures",
    "Settlement",
    "SpanRow",
    "figures_of",
    "nearest_rank",
]

PHASES = ("decide", "queue", "upstream", "buy", "settle")
_PHASE_OF: dict[str, str] = {
    SpanName.DECIDE: "decide",
    SpanName.QUOTA_WAIT: "queue",
    SpanName.BUY: "buy",
    SpanName.SETTLE: "settle",
}
_OPS: frozenset[str] = frozenset(name for name in SpanName if name.startswith("gateway."))
"""One server span a call that the gateway took."""
_NOT_BOTS = frozenset({"", "gateway"})
"""Whose spans are nobody's: the gateway's own calls (reconciling, balance) carry its name, which no bot may have."""
_NS_PER_MS = 1_000_000
_ZERO = Decimal(0)


class SpanRow(NamedTuple):
    """A span that ended in the period; a tuple, for there are millions of them in a day.

    ``unanswered``: a bot's purchase for which no span of the gateway exists, so that only the bot knows of its error.
    """

    name: str
    bot: str
    start_ns: int
    end_ns: int
    call: str = ""
    error_code: str = ""
    rate_refused: bool = False
    unanswered: bool = False


@dataclass(frozen=True, slots=True)
class Settlement:
    """An order of the feed that settled in the period; ``traced``: a span of the gateway names it."""

    bot: str
    profit: Decimal
    staked: Decimal
    traced: bool


@dataclass(frozen=True, slots=True)
class PeriodRows:
    """All that is kept of one account and one period.

    ``spans`` are read once; ``purchases`` counts the confirmed ones by bot.
    """

    spans: Iterable[SpanRow]
    settlements: Sequence[Settlement]
    purchases: Mapping[str, int]
    traces_without_order: int


@dataclass(frozen=True, slots=True)
class PhaseFigures:
    """Times of one phase in milliseconds, exact (nearest rank)."""

    phase: str
    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class BotFigures:
    """One bot, or (with the name "") the fleet."""

    bot: str
    ops: int
    buys: int
    settled: int
    wins: int
    profit: Decimal
    staked: Decimal
    phases: tuple[PhaseFigures, ...]
    errors: tuple[tuple[str, int], ...]

    @property
    def win_rate(self) -> float:
        """Wins / settled; 0 if nothing settled."""
        return self.wins / self.settled if self.settled else 0.0


@dataclass(frozen=True, slots=True)
class CompletenessFigures:
    """Settled orders of the feed against those that traces tell of, with the money of each."""

    orders_in_feed: int
    orders_traced: int
    traces_without_order: int
    profit_traced: Decimal
    profit_untraced: Decimal


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything of one period."""

    bots: tuple[BotFigures, ...]
    fleet: BotFigures
    quota: tuple[QuotaFigures, ...]
    completeness: CompletenessFigures
    calls_refused: int


def nearest_rank(ordered: Sequence[int], percent: int) -> int:
    """The smallest value that at least ``percent`` of 100 values do not exceed. ``ordered`` is ascending, not empty."""
    return ordered[max(0, (percent * len(ordered) + 99) // 100 - 1)]


class _Tally:
    """What is collected of one bot before it becomes figures."""

    __slots__ = ("buys", "durations_ns", "errors", "ops", "profit", "settled", "staked", "wins")

    def __init__(self) -> None:
        self.ops = 0
        self.buys = 0
        self.settled = 0
        self.wins = 0
        self.profit = _ZERO
        self.staked = _ZERO
        self.durations_ns: defaultdict[str, list[int]] = defaultdict(list)
        self.errors: Counter[str] = Counter()

    def add(self, other: _Tally) -> None:
        self.ops += other.ops
        self.buys += other.buys
        self.settled += other.settled
        self.wins += other.wins
        self.profit += other.profit
        self.staked += other.staked
        self.errors.update(other.errors)
        for phase, durations in other.durations_ns.items():
            self.durations_ns[phase].extend(durations)

    def figures(self, bot: str) -> BotFigures:
        return BotFigures(
            bot=bot,
            ops=self.ops,
            buys=self.buys,
            settled=self.settled,
            wins=self.wins,
            profit=self.profit,
            staked=self.staked,
            phases=tuple(_phase(phase, self.durations_ns[phase]) for phase in PHASES if self.durations_ns.get(phase)),
            errors=tuple(sorted(self.errors.items(), key=lambda item: (-item[1], item[0]))),
        )


def _phase(phase: str, durations_ns: list[int]) -> PhaseFigures:
    ordered = sorted(durations_ns)
    p50, p95, p99 = (nearest_rank(ordered, percent) / _NS_PER_MS for percent in (50, 95, 99))
    return PhaseFigures(phase, len(ordered), p50, p95, p99)


def _phase_of(span: SpanRow) -> str | None:
    if span.name == SpanName.DERIV_CALL:
        return "upstream" if span.call == "buy" else None
    return _PHASE_OF.get(span.name)


def _tally_spans(spans: Iterable[SpanRow], tallies: defaultdict[str, _Tally]) -> tuple[Counter[str], int]:
    """Add spans to their bots. Returns the calls that went to Deriv by name, and how many it refused for rate."""
    calls: Counter[str] = Counter()
    refused = 0
    for span in spans:
        if span.name == SpanName.DERIV_CALL:
            calls[span.call] += 1
            refused += span.rate_refused
        if span.bot in _NOT_BOTS:
            continue
        tally = tallies[span.bot]
        if span.name in _OPS:
            tally.ops += 1
        if span.error_code and (span.name in _OPS or span.unanswered):
            tally.errors[span.error_code] += 1
        phase = _phase_of(span)
        if phase is not None:
            tally.durations_ns[phase].append(span.end_ns - span.start_ns)
    return calls, refused


def figures_of(rows: PeriodRows, period_s: int, known_bots: Iterable[str], limits: Limits | None) -> Figures:
    """Sum up a period.

    Every bot of ``known_bots`` has a line, silent or not; bots that only the rows know follow. Errors are calls that
    the gateway failed, and purchases that never reached it, by code. A win is an order with a profit above zero: a won
    binary pays more than its stake, and an early sale won if it earned.
    """
    tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
    for bot in known_bots:
        tallies[bot] = _Tally()
    calls, refused = _tally_spans(rows.spans, tallies)
    for bot, count in rows.purchases.items():
        tallies[bot].buys += count
    for settlement in rows.settlements:
        tally = tallies[settlement.bot]
        tally.settled += 1
        tally.wins += settlement.profit > 0
        tally.profit += settlement.profit
        tally.staked += settlement.staked
    fleet = _Tally()
    for tally in tallies.values():
        fleet.add(tally)
    return Figures(
        bots=tuple(tally.figures(bot) for bot, tally in tallies.items()),
        fleet=fleet.figures(""),
        quota=quota_figures(calls, period_s, limits),
        completeness=_completeness(rows),
        calls_refused=refused,
    )


def _completeness(rows: PeriodRows) -> CompletenessFigures:
    traced = [settlement for settlement in rows.settlements if settlement.traced]
    return CompletenessFigures(
        orders_in_feed=len(rows.settlements),
        orders_traced=len(traced),
        traces_without_order=rows.traces_without_order,
        profit_traced=sum((one.profit for one in traced), _ZERO),
        profit_untraced=sum((one.profit for one in rows.settlements if not one.traced), _ZERO),
    )

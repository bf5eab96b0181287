"""From sums to figures: per bot, for the fleet, by symbol and strategy, per limit, and what was not seen.

Pure: sums in, figures out. Which period something belongs to was decided when it was summed up: a span by its end, a
purchase by its confirmation, money by its settlement.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.reports.quota_use import quota_use_of
from derivfleet.metrics.sums.latency_sketch import quantile
from derivfleet.metrics.sums.profit_and_loss import BOT, EMPTY, FLEET, STRATEGY, SYMBOL
from derivfleet.metrics.sums.span_aggregates import CALL, ERROR, OPERATION, WAIT, SpanAggregate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

    from derivfleet.metrics.reports.quota_use import Limits, QuotaUse
    from derivfleet.metrics.sums.profit_and_loss import OrderSums, ProfitAndLoss

__all__ = [
    "PHASES",
    "BotFigures",
    "Bottleneck",
    "CompletenessFigures",
    "Figures",
    "PhaseFigures",
    "Wait",
    "figures_of",
]

PHASES = ("decide", "queue", "upstream", "buy", "settle")
_NOT_BOTS = frozenset({"", "gateway"})
"""Whose spans are nobody's: the gateway's own calls (reconciling, balance) carry its name, which no bot may have."""
_BUY_UPSTREAM = CALL + "buy"
_NS_PER_MS = 1_000_000
_LEAST_SHARE = 0.01
_MOST_BOTTLENECKS = 5
_PERCENTS = (50, 95, 99)


@dataclass(frozen=True, slots=True)
class PhaseFigures:
    """Times of one phase or operation in milliseconds, to the sketch's relative error (nearest rank)."""

    phase: str
    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Wait:
    """How often and how long something made a bot's calls wait for their turn."""

    cause: str
    count: int
    total_s: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """What held a bot up, as a part of the time there was; above 1 if its replicas waited at once."""

    bot: str
    cause: str
    share: float

    @property
    def text(self) -> str:
        name, _, window = self.cause.partition("/")
        match name, window:
            case "upstream", "":
                what = "Deriv's answers"
            case _, "3600s":
                what = f"the hour window of {name} calls"
            case _, "60s":
                what = f"the minute window of {name} calls"
            case "cap", _:
                what = f"its cap on {window} calls"
            case _, "refused":
                what = f"the end of a pause that Deriv made {name} calls take"
            case _:
                what = f"its turn among {name} calls"
        return f"{self.bot} waits for {what} {self.share:.0%} of the time"


@dataclass(frozen=True, slots=True)
class BotFigures:
    """One bot, or (with the name "") the fleet. ``heard_minutes``: those in which a span of it ended."""

    bot: str
    ops: int
    pnl: ProfitAndLoss
    phases: tuple[PhaseFigures, ...]
    errors: tuple[tuple[str, int], ...]
    operations: tuple[PhaseFigures, ...]
    waits: tuple[Wait, ...]
    heard_minutes: int


@dataclass(frozen=True, slots=True)
class CompletenessFigures:
    """Settled orders of the feed against those that traces tell of, with the money of each, and how spans arrived."""

    pnl: ProfitAndLoss
    spans: int
    spans_sampled: int
    spans_represented: int
    spans_late: int
    spans_ahead: int
    max_ahead_s: float

    @property
    def orders_in_feed(self) -> int:
        return self.pnl.settled

    @property
    def orders_traced(self) -> int:
        return self.pnl.settled - self.pnl.untraced

    @property
    def traces_without_order(self) -> int:
        return self.pnl.strays

    @property
    def profit_untraced(self) -> Decimal:
        return self.pnl.untraced_profit

    @property
    def is_whole(self) -> bool:
        """Every order of the feed has a trace and every trace an order."""
        return not self.pnl.untraced and not self.pnl.strays


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything of one period."""

    bots: tuple[BotFigures, ...]
    fleet: BotFigures
    symbols: tuple[tuple[str, ProfitAndLoss], ...]
    strategies: tuple[tuple[str, ProfitAndLoss], ...]
    quota: tuple[QuotaUse, ...]
    completeness: CompletenessFigures
    calls_refused: int
    bottlenecks: tuple[Bottleneck, ...]


def _times(name: str, bins: Mapping[int, int]) -> PhaseFigures:
    p50, p95, p99 = (quantile(bins, percent) / _NS_PER_MS for percent in _PERCENTS)
    return PhaseFigures(name, sum(bins.values()), p50, p95, p99)


def _queue_of(aggregate: SpanAggregate) -> dict[int, int]:
    queue: Counter[int] = Counter()
    for name, bins in aggregate.bins.items():
        if name.startswith(WAIT):
            queue.update(bins)
    return queue


def _bot_figures(bot: str, aggregate: SpanAggregate, pnl: ProfitAndLoss) -> BotFigures:
    phase_bins = {**aggregate.bins, "queue": _queue_of(aggregate), "upstream": aggregate.bins.get(_BUY_UPSTREAM, {})}
    return BotFigures(
        bot=bot,
        ops=sum(aggregate.named(OPERATION).values()),
        pnl=pnl,
        phases=tuple(_times(phase, bins) for phase in PHASES if (bins := phase_bins.get(phase))),
        errors=tuple(sorted(aggregate.named(ERROR).items(), key=lambda item: (-item[1], item[0]))),
        operations=tuple(
            _times(name.removeprefix(OPERATION), bins)
            for name, bins in sorted(aggregate.bins.items())
            if name.startswith((OPERATION, CALL))
        ),
        waits=tuple(
            Wait(
                name.removeprefix(WAIT),
                sum(bins.values()),
                aggregate.sums_ns[name] / NS_PER_S,
                quantile(bins, 50) / _NS_PER_MS,
                quantile(bins, 95) / _NS_PER_MS,
            )
            for name, bins in sorted(aggregate.bins.items(), key=lambda item: -aggregate.sums_ns[item[0]])
            if name.startswith(WAIT)
        ),
        heard_minutes=aggregate.counts.get("minutes", 0),
    )


def _bottlenecks(aggregates: Mapping[str, SpanAggregate], passed_s: float) -> tuple[Bottleneck, ...]:
    found = [
        Bottleneck(bot, "upstream" if name == _BUY_UPSTREAM else name.removeprefix(WAIT), sum_ns / NS_PER_S / passed_s)
        for bot, aggregate in aggregates.items()
        for name, sum_ns in aggregate.sums_ns.items()
        if name.startswith(WAIT) or name == _BUY_UPSTREAM
    ]
    worth = sorted((one for one in found if one.share >= _LEAST_SHARE), key=lambda one: (-one.share, one.bot))
    return tuple(worth[:_MOST_BOTTLENECKS])


def figures_of(
    aggregates: Mapping[str, SpanAggregate],
    sums: OrderSums,
    period_s: int,
    known_bots: Iterable[str],
    limits: Limits | None,
    passed_s: float | None = None,
) -> Figures:
    """What a period's sums say; ``aggregates`` are by bot.

    ``passed_s`` is how much of the period is over (all, if None).

    Every bot of ``known_bots`` has a line, silent or not; bots that only the sums know follow. Errors are calls that
    the gateway failed, and purchases that never reached it, by code. A win is an order with a profit above zero: a won
    binary pays more than its stake, and an early sale won if it earned.
    """
    names = dict.fromkeys(known_bots)
    names |= dict.fromkeys(sorted(name for name in aggregates if name not in _NOT_BOTS))
    names |= dict.fromkeys(sorted(name for scope, name in sums if scope == BOT))
    own = {bot: aggregates.get(bot) or SpanAggregate() for bot in names}
    fleet, everything = SpanAggregate(), SpanAggregate()
    for aggregate in own.values():
        fleet.add(aggregate)
    for aggregate in aggregates.values():
        everything.add(aggregate)
    pnl = sums.get((FLEET, ""), EMPTY)
    counts = everything.counts
    return Figures(
        bots=tuple(_bot_figures(bot, aggregate, sums.get((BOT, bot), EMPTY)) for bot, aggregate in own.items()),
        fleet=_bot_figures("", fleet, pnl),
        symbols=tuple((name, one) for (scope, name), one in sorted(sums.items()) if scope == SYMBOL),
        strategies=tuple((name, one) for (scope, name), one in sorted(sums.items()) if scope == STRATEGY),
        quota=quota_use_of(everything.named(CALL), period_s, limits),
        completeness=CompletenessFigures(
            pnl=pnl,
            spans=counts.get("spans", 0),
            spans_sampled=counts.get("sampled", 0),
            spans_represented=counts.get("stood for", 0),
            spans_late=counts.get("late", 0),
            spans_ahead=counts.get("ahead", 0),
            max_ahead_s=quantile(everything.bins.get("ahead", {}), 100) / NS_PER_S,
        ),
        calls_refused=counts.get("refused", 0),
        bottlenecks=_bottlenecks(own, max(1.0, period_s if passed_s is None else passed_s)),
    )

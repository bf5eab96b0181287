"""Which days are played, and by whom."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

from bench.quota.baselines import Gcra, GlobalLock, PerBotLimits, TokenBucket
from bench.quota.day import Day, StuckError
from bench.quota.demand import DemandName, demand_of
from bench.quota.designs import AnyPermit, Stopwatch
from bench.quota.figures import Case, row_of
from bench.quota.world import FASTEST_NS, NS_PER_S, SKEW_PPM, START_NS
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.gateway.core.quota import Quota
from derivfleet.simulator.core.windows import WindowKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.quota.designs import Design
    from bench.quota.figures import Row
    from derivfleet.gateway.core.quota import Permit

__all__ = ["BASELINES", "FLEET", "cases", "play", "time_decisions"]

P = TypeVar("P", bound=AnyPermit)

FLEET = "fleet"
BASELINES = ("global_lock", "per_bot_limits", "token_bucket", "gcra")
BOTS = (10, 100, 1000)
BASELINE_BOTS = 10
BASELINE_CLASSES = ((Dialect.OPTIONS, "trade"), (Dialect.OPTIONS, "other"))
"""The busiest bucket that the hour binds, and the one that the minute binds."""
FILLED_S = 3600
"""Decisions are timed when the windows are full, after an hour ..."""
CHUNKS, CHUNK_S = 6, 600
"""... for another one, in stretches of ten minutes of which the median counts."""
FEWEST_TIMED = 20


class Fleet(Quota):
    """The quota as the gateway uses it: with each dispatch it takes the blocks that are to be written ahead."""

    def dispatch(self, now_ns: int) -> list[Permit]:
        granted = super().dispatch(now_ns)
        self.take_blocks()
        return granted


def cases(
    hours: int,
    designs: Sequence[str] = (),
    bots: Sequence[int] = (),
    demands: Sequence[DemandName] = (),
    buckets: Sequence[str] = (),
) -> list[Case]:
    """All days, or those that are named, the longest first.

    Baselines have ten bots and two buckets, unless both bots and buckets are named.
    """
    found: list[Case] = []
    for design in designs or (FLEET, *BASELINES):
        for name in Dialect:
            for bucket in dialect(name).limits.buckets:
                for count in bots or BOTS:
                    usual = design == FLEET or ((name, bucket) in BASELINE_CLASSES and count == BASELINE_BOTS)
                    named = bool(buckets) and bool(bots)
                    if (bucket in buckets or not buckets) and (usual or named):
                        found += [Case(design, name, bucket, count, demand, hours) for demand in demands or DemandName]
    return sorted(found, key=lambda case: -case.size)


def play(case: Case) -> list[Row]:
    """Play a day under all three kinds of window; raises StuckError with the case if the design gets stuck.

    While nothing is refused the kinds make no difference to the design, so one day is counted by all three. As soon as
    one of them refuses, each gets a day of its own.
    """
    kinds = list(WindowKind)
    try:
        together = _rows(_day(_design(case), case, kinds), case, kinds, stop_if_refused=True)
        if together is not None:
            return together
        alone = [_rows(_day(_design(case), case, [kind]), case, [kind], stop_if_refused=False) for kind in kinds]
    except StuckError as error:
        raise StuckError(f"{case}: {error}") from error
    return [row for rows in alone for row in rows or []]


def time_decisions(case: Case) -> float | None:
    """How long the design decides per call sent, in µs; None if it sends too little. Best while nothing else runs.

    Refusals do not matter here, so the counters are left out.
    """
    return _time(_design(case), case)


def _rows(day: Day[P], case: Case, kinds: Sequence[WindowKind], *, stop_if_refused: bool) -> list[Row] | None:
    """The rows of one day; None if it stopped at a refusal."""
    if not day.run(START_NS + case.hours * 3600 * NS_PER_S, stop_if_refused=stop_if_refused):
        return None
    return [row_of(case, day.demand, day.tally, day.clocks, kind) for kind in kinds]


def _time(design: Design[P], case: Case) -> float | None:
    day = _day(design, case, [])
    start_ns = START_NS + FILLED_S * NS_PER_S
    day.run(start_ns)
    times: list[float] = []
    for number in range(CHUNKS):
        watch = Stopwatch(design)
        day.run(start_ns + (number + 1) * CHUNK_S * NS_PER_S, watch)
        if watch.granted >= FEWEST_TIMED:
            times.append(watch.spent_ns / watch.granted / 1000)
    return median(times) if times else None


def _day(design: Design[P], case: Case, kinds: Sequence[WindowKind]) -> Day[P]:
    demand = demand_of(case.demand, case.bots, case.limits)
    seed = f"{case.dialect} {case.bucket} {case.bots} {case.demand}"
    return Day(design, demand, case.dialect, case.limits, kinds, seed)


def _design(case: Case) -> Design[Any]:
    """Each design has permits of its own kind, which only it looks into."""
    weights = demand_of(case.demand, case.bots, case.limits).weights
    match case.design:
        case "global_lock":
            return GlobalLock(case.limits)
        case "per_bot_limits":
            return PerBotLimits(case.limits, weights)
        case "token_bucket":
            return TokenBucket(case.limits)
        case "gcra":
            return Gcra(case.limits)
        case _:
            return Fleet(dialect(case.dialect).limits, 1.0, weights, fastest_ns=FASTEST_NS, drift=SKEW_PPM / 1e6)

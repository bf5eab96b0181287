"""Which days are played, and by whom."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, TypeVar

from bench.quota.baselines import Gcra, GlobalLock, PerBotLimits, TokenBucket
from bench.quota.day import Day, StuckError
from bench.quota.demand import DemandName, demand_of
from bench.quota.designs import Pass, Stopwatch
from bench.quota.figures import Case, row_of
from bench.quota.world import NS_PER_S, START_NS
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.gateway.core.schedule import Schedule
from derivfleet.simulator.core.windows import WindowKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.quota.designs import Design
    from bench.quota.figures import Row

__all__ = ["BASELINES", "FLEET", "cases", "play"]

P = TypeVar("P", bound=Pass)

FLEET = "fleet"
BASELINES = ("global_lock", "per_bot_limits", "token_bucket", "gcra")
BOTS = (10, 100, 1000)
BASELINE_BOTS = 10
BASELINE_CLASSES = ((Dialect.OPTIONS, "trade"), (Dialect.OPTIONS, "other"))
"""The busiest bucket that the hour binds, and the one that the minute binds."""
TIMED_CHUNKS = 12
TIMED_CHUNK_S = 600
"""Decisions are timed in the day's last two hours, when the windows are full: the median of these stretches counts."""
FEWEST_TIMED = 20


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
        together = _play(case, kinds, stop_if_refused=True)
        if together is not None:
            return together
        return [row for kind in kinds for row in _play(case, [kind], stop_if_refused=False) or []]
    except StuckError as error:
        raise StuckError(f"{case}: {error}") from error


def _play(case: Case, kinds: Sequence[WindowKind], *, stop_if_refused: bool) -> list[Row] | None:
    bucket, weights = case.limits, demand_of(case.demand, case.bots, case.limits).weights
    match case.design:
        case "global_lock":
            return _run(GlobalLock(bucket), case, kinds, stop_if_refused)
        case "per_bot_limits":
            return _run(PerBotLimits(bucket, weights), case, kinds, stop_if_refused)
        case "token_bucket":
            return _run(TokenBucket(bucket), case, kinds, stop_if_refused)
        case "gcra":
            return _run(Gcra(bucket), case, kinds, stop_if_refused)
        case _:
            return _run(Schedule(dialect(case.dialect).limits, 1.0, weights), case, kinds, stop_if_refused)


def _run(design: Design[P], case: Case, kinds: Sequence[WindowKind], stop_if_refused: bool) -> list[Row] | None:
    """The rows of one day; None if it stopped at a refusal."""
    demand = demand_of(case.demand, case.bots, case.limits)
    seed = f"{case.dialect} {case.bucket} {case.bots} {case.demand}"
    day = Day(design, demand, case.dialect, case.limits, kinds, seed)
    end_ns = START_NS + case.hours * 3600 * NS_PER_S
    chunk_ns = TIMED_CHUNK_S * NS_PER_S
    if not day.run(end_ns - TIMED_CHUNKS * chunk_ns, stop_if_refused=stop_if_refused):
        return None
    times: list[float] = []
    for left in reversed(range(TIMED_CHUNKS)):
        watch = Stopwatch(design)
        if not day.run(end_ns - left * chunk_ns, watch, stop_if_refused=stop_if_refused):
            return None
        if watch.granted >= FEWEST_TIMED:
            times.append(watch.spent_ns / watch.granted / 1000)
    decision_us = median(times) if times else None
    return [row_of(case, demand, day.tally, day.clocks, kind, decision_us) for kind in kinds]

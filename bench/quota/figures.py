"""What a day comes to in figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bench.percentiles import percentile
from bench.quota.demand import DemandName, binding_window_s
from bench.quota.world import NS_PER_S, START_NS
from derivfleet.deriv.dialects import dialect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.quota.day import Tally
    from bench.quota.demand import Demand
    from bench.quota.world import Clocks
    from derivfleet.deriv.limits import Bucket
    from derivfleet.deriv.vocabulary import Dialect
    from derivfleet.simulator.core.windows import WindowKind

__all__ = ["Case", "Row", "jain", "lent", "percentile", "row_of"]


@dataclass(frozen=True, slots=True)
class Case:
    """One day."""

    design: str
    dialect: Dialect
    bucket: str
    bots: int
    demand: DemandName
    hours: int

    @property
    def limits(self) -> Bucket:
        return dialect(self.dialect).limits.buckets[self.bucket]

    @property
    def size(self) -> float:
        """About how many calls the day has; only for the order of play."""
        rate = min(limit / window_s for window_s, limit in self.limits.windows.items())
        return rate * self.hours * 3600 * (0.3 if self.demand is DemandName.BURST else 1)


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one day, under one kind of window. None where a figure says nothing about the demand."""

    design: str
    dialect: str
    window: str
    bucket: str
    bots: int
    demand: str
    hours: int
    binding: str
    """The window that binds, as ``trade/3600s``."""
    utilisation: float
    """Accepted calls, exits with them, of what the binding window allows: over the day; of a burst over the minute that
    begins at the server with the burst's first call, the mean of all bursts."""
    refused: int
    turned_away: int
    jain: float | None
    """Of hungry bots' accepted calls per weight, exits with them; of bursts' accepted calls per call asked for."""
    idle_share_lent: float | None
    """Of what nobody else used of the limit, beyond the hungry bots' own shares, the part that these got."""
    exits: int
    exit_wait_p99_ms: float
    exit_burst_s: float | None
    """The slowest burst of 60 exits at once: until the last was sent."""
    modest_wait_p99_ms: float | None
    """How long those wait who want a little while others are hungry."""
    decision_us: float | None
    """Processor time in the design per call sent."""
    skew_ppm: float

    def as_json(self) -> dict[str, Any]:
        fields = asdict(self)
        return {("class" if name == "bucket" else name): value for name, value in fields.items()}


def jain(shares: Iterable[float]) -> float:
    """Jain's index: 1 if all are equal, 1/n if one has everything."""
    values = list(shares)
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 0.0


def lent(tally: Tally, demand: Demand, allowed: float) -> float:
    """The part of the idle share that hungry bots got.

    Idle is what the window allows without the hungry bots' guaranteed shares, exits, and what the others took.
    """
    total = sum(demand.weights.values())
    guaranteed = allowed * sum(demand.weights[bot] for bot in demand.hungry) / total
    got = sum(tally.served[bot] for bot in demand.hungry)
    others = tally.served.total() - got
    idle = allowed - guaranteed - others - tally.exits.total()
    return (got - guaranteed) / idle


def row_of(case: Case, demand: Demand, tally: Tally, clocks: Clocks, kind: WindowKind) -> Row:
    """The figures of a day that was played to its end; the time of decisions is measured by itself."""
    limits = case.limits.windows
    window_s = binding_window_s(case.limits, case.demand)
    span_ns = clocks.server_ns(START_NS + case.hours * 3600 * NS_PER_S) - clocks.server_ns(START_NS)
    allowed = limits[window_s] * span_ns / (window_s * NS_PER_S)
    bursts = tally.burst_minutes
    greedy = case.demand in (DemandName.HOG, DemandName.TRICKLE)
    return Row(
        design=case.design,
        dialect=case.dialect,
        window=kind,
        bucket=case.bucket,
        bots=case.bots,
        demand=case.demand,
        hours=case.hours,
        binding=f"{case.bucket}/{window_s}s",
        utilisation=sum(bursts) / len(bursts) / limits[window_s] if bursts else tally.accepted / allowed,
        refused=tally.refused,
        turned_away=tally.turned_away,
        jain=_fairness(tally, demand),
        idle_share_lent=lent(tally, demand, allowed) if greedy else None,
        exits=tally.exits.total(),
        exit_wait_p99_ms=percentile(tally.exit_waits_ns, 0.99) / 1e6,
        exit_burst_s=max(tally.exit_bursts_ns) / 1e9 if tally.exit_bursts_ns else None,
        modest_wait_p99_ms=percentile(tally.modest_waits_ns, 0.99) / 1e6 if demand.modest else None,
        decision_us=None,
        skew_ppm=clocks.skew_ppm,
    )


def _fairness(tally: Tally, demand: Demand) -> float | None:
    if demand.bursts:
        return jain(tally.served[bot] / asked for bot, asked in tally.asked.items())
    if len(demand.hungry) <= 1:
        return None
    return jain((tally.served[bot] + tally.exits[bot]) / demand.weights[bot] for bot in demand.hungry)

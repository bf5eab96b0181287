"""What the fleet's own design must reach, and whether it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.quota.demand import DemandName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bench.quota.figures import Row

__all__ = ["Verdict", "judge"]

FULL = (DemandName.SATURATED, DemandName.BURST)
EVEN = (DemandName.SATURATED, DemandName.BURST, DemandName.WEIGHTED)
LENDING = (DemandName.HOG, DemandName.TRICKLE)
PART = 0.99
EXIT_WAIT_MS = 250.0
EXIT_BURST_S = 2.0
DECISION_US = 20.0
DECISION_RATIO = 2.0
MANY, FEW = 1000, 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """One demand on all rows, with the worst of them."""

    what: str
    bound: str
    worst: float
    met: bool
    where: str
    speed: bool = False
    """Depends on the machine and on what else it does."""


def _where(row: Row) -> str:
    return f"{row.dialect} {row.bucket}, {row.bots} bots, {row.demand}"


def _least(what: str, rows: Iterable[Row], figure: Callable[[Row], float | None], bound: float) -> list[Verdict]:
    found = [(value, row) for row in rows if (value := figure(row)) is not None]
    if not found:
        return []
    worst, row = min(found, key=lambda pair: pair[0])
    return [Verdict(what, f">= {bound:g}", worst, worst >= bound, _where(row))]


def _most(
    what: str, rows: Iterable[Row], figure: Callable[[Row], float | None], bound: float, *, speed: bool = False
) -> list[Verdict]:
    found = [(value, row) for row in rows if (value := figure(row)) is not None]
    if not found:
        return []
    worst, row = max(found, key=lambda pair: pair[0])
    return [Verdict(what, f"<= {bound:g}", worst, worst <= bound, _where(row), speed=speed)]


def judge(rows: Sequence[Row]) -> list[Verdict]:
    """All demands on which the fleet's rows say something."""
    ours = [row for row in rows if row.design == "fleet"]
    full = [row for row in ours if row.demand in FULL]
    times = {
        (row.dialect, row.bucket, row.window, row.demand, row.bots): row.decision_us
        for row in ours
        if row.decision_us is not None
    }

    def growth(row: Row) -> float | None:
        few = times.get((row.dialect, row.bucket, row.window, row.demand, FEW))
        return row.decision_us / few if few and row.decision_us and row.bots == MANY else None

    return [
        *_most("refused by the server", ours, lambda row: row.refused, 0),
        *_least("utilisation, saturated and burst", full, lambda row: row.utilisation, PART),
        *_least("Jain", (row for row in ours if row.demand in EVEN), lambda row: row.jain, PART),
        *_least(
            "idle share lent", (row for row in ours if row.demand in LENDING), lambda row: row.idle_share_lent, PART
        ),
        *_most("exits' wait, 99th percentile, ms", ours, lambda row: row.exit_wait_p99_ms, EXIT_WAIT_MS),
        *_most("60 exits at once, all out, s", ours, lambda row: row.exit_burst_s, EXIT_BURST_S),
        *_most(
            "decision at 1,000 bots, µs",
            (row for row in ours if row.bots == MANY),
            lambda row: row.decision_us,
            DECISION_US,
            speed=True,
        ),
        *_most("decision at 1,000 bots / at 10", ours, growth, DECISION_RATIO, speed=True),
    ]

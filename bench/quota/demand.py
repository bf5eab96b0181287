"""What the bots want, as a value that the day plays."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from derivfleet.deriv.vocabulary import Call

if TYPE_CHECKING:
    from derivfleet.deriv.limits import Bucket

__all__ = ["EXIT_PART", "WAITING", "Demand", "DemandName", "binding_window_s", "calls_of", "demand_of"]

WAITING = 2
"""Calls that a hungry bot always has waiting: it wants more than it can ever get."""
EXIT_PART = 0.1
"""Exits come by chance, on average at this part of the limit that can be kept up."""
LITTLE_PART = 0.1
"""What all bots that want a little want together."""
FEW = 3
"""Hungry bots of the trickle."""
BURST_EVERY_S = 600
"""Rare enough that the hour never binds, in any bucket."""
EXIT_BURST_EVERY_S = 3600
EXIT_BURST = 60


class DemandName(StrEnum):
    SATURATED = "saturated"
    """Every bot is hungry."""
    BURST = "burst"
    """Nothing for minutes, then the minute's limit at once, bot by bot."""
    HOG = "hog"
    """One bot is hungry, all others want a little."""
    TRICKLE = "trickle"
    """Three bots are hungry, half of the others want a little, the rest nothing."""
    WEIGHTED = "weighted"
    """Every bot is hungry; their weights are 1 to 5."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Who wants what."""

    weights: dict[str, float]
    hungry: tuple[str, ...] = ()
    modest: tuple[str, ...] = ()
    """Those who want a little."""
    bursts: bool = False
    exit_bursts: bool = False


def calls_of(bucket: Bucket) -> tuple[Call, Call]:
    """A call of the bucket to be hungry for, and one to get out with."""
    if not bucket.calls:
        return Call.TICKS_HISTORY, Call.CANCEL
    call = Call.BUY if Call.BUY in bucket.calls else min(bucket.calls)
    return call, Call.SELL if Call.SELL in bucket.calls else call


def binding_window_s(bucket: Bucket, demand: DemandName) -> int:
    """The window that binds: of a burst the shortest, else the one that allows least over time."""
    if demand is DemandName.BURST:
        return min(bucket.windows)
    return min(bucket.windows, key=lambda window_s: bucket.windows[window_s] / window_s)


def demand_of(name: DemandName, count: int, bucket: Bucket) -> Demand:
    """What ``count`` bots want. Exits in bursts are tried where the minute has room for them: in the trade bucket."""
    bots = tuple(f"bot-{number}" for number in range(count))
    weights = dict.fromkeys(bots, 1.0)
    rushed = bucket.name == "trade"
    match name:
        case DemandName.SATURATED:
            return Demand(weights, hungry=bots, exit_bursts=rushed)
        case DemandName.BURST:
            return Demand(weights, bursts=True)
        case DemandName.HOG:
            return Demand(weights, hungry=bots[:1], modest=bots[1:], exit_bursts=rushed)
        case DemandName.TRICKLE:
            return Demand(weights, hungry=bots[:FEW], modest=bots[FEW : FEW + (count - FEW) // 2])
        case DemandName.WEIGHTED:
            weights = {bot: 1.0 + number % 5 for number, bot in enumerate(bots)}
            return Demand(weights, hungry=bots, exit_bursts=rushed)

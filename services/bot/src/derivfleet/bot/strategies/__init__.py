"""The strategies, one file each: pure functions from parameters and one symbol's latest ticks to a decision or None.

Their parameters live in :mod:`derivfleet.common.strategy_parameters`, because the fleet file names them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.bot.strategies.averages import decide_averages
from derivfleet.bot.strategies.digits import decide_digits
from derivfleet.common.strategy_parameters import DigitFrequency, MovingAverage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from derivfleet.bot.core.decisions import Decision
    from derivfleet.common.strategy_parameters import StrategyParameters
    from derivfleet.deriv.ticks import Tick

__all__ = ["decide"]


def decide(parameters: StrategyParameters, ticks: Sequence[Tick]) -> Decision | None:
    """What the strategy with these parameters makes of the ticks (oldest first)."""
    match parameters:
        case DigitFrequency():
            return decide_digits(parameters, ticks)
        case MovingAverage():
            return decide_averages(parameters, ticks)

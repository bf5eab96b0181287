"""Rise or fall: bets on the direction in which a fast mean of ticks has left a slow one."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from derivfleet.bot.core.decisions import Decision
from derivfleet.deriv.categories.rise_fall import CALL, CALLE, PUT, PUTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from derivfleet.common.strategy_parameters import MovingAverage
    from derivfleet.deriv.ticks import Tick

__all__ = ["decide_averages"]


def decide_averages(parameters: MovingAverage, ticks: Sequence[Tick]) -> Decision | None:
    """Buy a rise when the fast mean is above the slow one, a fall when it is below, nothing when they are equal.

    ``ticks`` are the latest ones, oldest first. None if there are fewer than ``slow_ticks``. The means are compared
    by cross-multiplied sums, so that no division rounds.
    """
    if len(ticks) < parameters.slow_ticks:
        return None
    slow = sum((tick.quote for tick in ticks[-parameters.slow_ticks :]), Decimal())
    fast = sum((tick.quote for tick in ticks[-parameters.fast_ticks :]), Decimal())
    fast_weighed, slow_weighed = fast * parameters.slow_ticks, slow * parameters.fast_ticks
    if fast_weighed == slow_weighed:
        return None
    rise, fall = (CALLE, PUTE) if parameters.or_equal else (CALL, PUT)
    return Decision(rise if fast_weighed > slow_weighed else fall, parameters.duration_ticks)

"""Digit over or under: bets on a side that came up less often than chance would have it."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from derivfleet.bot.core.decisions import Decision
from derivfleet.deriv.categories.digits import DIGITOVER, DIGITUNDER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from derivfleet.common.strategy_parameters import DigitFrequency
    from derivfleet.deriv.ticks import Tick

__all__ = ["decide_digits"]

DIGITS = 10


def decide_digits(parameters: DigitFrequency, ticks: Sequence[Tick]) -> Decision | None:
    """Buy when the side's share of the window is at least ``deficit`` below its fair share.

    ``ticks`` are the latest ones, oldest first; only the last ``window_ticks`` count. None if there are fewer.
    Shares are compared as fractions: 0.3 of 10 ticks is 3 ticks, whatever binary fractions make of it.
    """
    window = ticks[-parameters.window_ticks :]
    if len(window) < parameters.window_ticks:
        return None
    if parameters.side == "over":
        fair = Fraction(DIGITS - 1 - parameters.barrier, DIGITS)
        seen = sum(tick.digit > parameters.barrier for tick in window)
    else:
        fair = Fraction(parameters.barrier, DIGITS)
        seen = sum(tick.digit < parameters.barrier for tick in window)
    if fair - Fraction(seen, len(window)) < Fraction(str(parameters.deficit)):
        return None
    return Decision(
        contract_type=DIGITOVER if parameters.side == "over" else DIGITUNDER,
        duration_ticks=parameters.duration_ticks,
        barrier=str(parameters.barrier),
    )

"""Which behaviour a contract has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.deriv.categories import digits, rise_fall
from derivfleet.deriv.categories.registry import category_of
from derivfleet.simulator.core.behaviours.binary import DIGITS, RISE_FALL, RISE_FALL_EQUAL

if TYPE_CHECKING:
    from derivfleet.deriv.terms import Terms
    from derivfleet.simulator.core.behaviours.behaviour import Behaviour

__all__ = ["BEHAVIOURS", "behaviour_of"]

BEHAVIOURS = {
    rise_fall.CALLPUT.name: RISE_FALL,
    rise_fall.CALLPUTEQUAL.name: RISE_FALL_EQUAL,
    digits.DIGITS.name: DIGITS,
}
"""By the name of the category."""


def behaviour_of(terms: Terms) -> Behaviour:
    """How a contract with such terms goes on. KeyError if its type is not traded."""
    return BEHAVIOURS[category_of(terms.contract_type).name]

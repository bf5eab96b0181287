"""Digits: the last digit of the exit tick decides."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from derivfleet.deriv.categories import binary
from derivfleet.deriv.categories.category import Category, ContractType, refusal
from derivfleet.deriv.pricing import Bounds, Price
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.ticks import last_digit

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.deriv.terms import Terms, Timeline

__all__ = ["DIGITOVER", "DIGITS", "DIGITUNDER", "chance", "digit_of", "wins"]

DIGITOVER = "DIGITOVER"
DIGITUNDER = "DIGITUNDER"

_BOUNDS = Bounds(Decimal("0.010"))
"""The commission reproduces captures of 2024; a demo capture of 2025 paid EVEN/ODD as if commission and markup were
0.017 together.
"""
_SPANS = (binary.IN_TICKS,)
_ALL = tuple(range(10))


@dataclass(frozen=True, slots=True)
class _Rule:
    """Which last digits win against a barrier's, and which digits may be that barrier; none if it needs none."""

    sentiment: str
    wins: Callable[[int, int], bool]
    barriers: tuple[int, ...] = ()


_RULES = {
    "DIGITMATCH": _Rule("match", lambda digit, barrier: digit == barrier, _ALL),
    "DIGITDIFF": _Rule("differ", lambda digit, barrier: digit != barrier, _ALL),
    DIGITOVER: _Rule("over", lambda digit, barrier: digit > barrier, _ALL[:-1]),
    DIGITUNDER: _Rule("under", lambda digit, barrier: digit < barrier, _ALL[1:]),
    "DIGITEVEN": _Rule("even", lambda digit, _: digit % 2 == 0),
    "DIGITODD": _Rule("odd", lambda digit, _: digit % 2 == 1),
}


def digit_of(terms: Terms) -> int:
    """The digit of the barrier. ValueError for a contract without one."""
    if terms.barrier is None:
        raise ValueError(f"{terms.contract_type} has no digit")
    return int(terms.barrier)


def _check(terms: Terms) -> None:
    binary.check_duration(terms, _SPANS)
    allowed, barrier = _RULES[terms.contract_type].barriers, terms.barrier
    if not allowed:
        if barrier is not None:
            raise refusal("BarrierValidationError", "Barrier is not allowed for this contract type.", "barrier")
        return
    if barrier is None or len(barrier) != 1 or not barrier.isdigit():
        raise refusal("BarrierValidationError", "Barrier must be a single digit from 0 to 9.", "barrier")
    if int(barrier) not in allowed:
        raise refusal("BarrierValidationError", f"Barrier must be from {allowed[0]} to {allowed[-1]}.", "barrier")


def wins(terms: Terms, _entry: Decimal, exit_: Decimal) -> bool:
    """Whether a contract has won, from the quote of its exit tick."""
    return _is_winner(terms, last_digit(exit_, SYMBOLS[terms.symbol].decimals))


def _is_winner(terms: Terms, digit: int) -> bool:
    rule = _RULES[terms.contract_type]
    return rule.wins(digit, digit_of(terms) if rule.barriers else 0)


def chance(terms: Terms, _seconds: float, _spot: Decimal | None, _strike: Decimal | None) -> Decimal:
    """The fair probability of winning: all digits are alike, whatever the time and the spot."""
    return Decimal(sum(_is_winner(terms, digit) for digit in _ALL)) / 10


def _shortcode(terms: Terms, bought: Price, at: Timeline) -> str:
    head = binary.shortcode_head(terms, bought, at)
    return head if terms.barrier is None else f"{head}_{terms.barrier}_0"


DIGITS = Category(
    name="digits",
    title="Digits",
    barrier_category="non_financial",
    types=tuple(
        ContractType(name, rule.sentiment, int(bool(rule.barriers)), rule.barriers) for name, rule in _RULES.items()
    ),
    spans=_SPANS,
    has_duration=True,
    bounds=_BOUNDS,
    asked=binary.asked,
    request=binary.request,
    check=_check,
    price=partial(binary.price, category="digits", own=_BOUNDS, chance=chance),
    greatest_loss=binary.greatest_loss,
    form=binary.FORM,
    shortcode=_shortcode,
    differing_term=binary.differing_term,
    timeline=partial(binary.timeline, entry_counts=True),
    end_s=binary.end_s,
    exits=binary.exits,
    ended=binary.ended,
)

"""Rise/fall: the exit spot is above (CALL) or below (PUT) the entry spot; CALLE and PUTE win if both are equal, too."""

from __future__ import annotations

import math
from decimal import Decimal
from functools import partial
from statistics import NormalDist
from typing import TYPE_CHECKING

from derivfleet.deriv.categories import binary
from derivfleet.deriv.categories.category import Category, ContractType, refusal
from derivfleet.deriv.pricing import Bounds, Price
from derivfleet.deriv.symbols import SECONDS_PER_YEAR, SYMBOLS

if TYPE_CHECKING:
    from derivfleet.deriv.terms import Terms, Timeline

__all__ = ["CALL", "CALLE", "CALLPUT", "CALLPUTEQUAL", "PUT", "PUTE", "chance", "wins"]

CALL = "CALL"
PUT = "PUT"
CALLE = "CALLE"
PUTE = "PUTE"

_BOUNDS = Bounds(Decimal("0.012"))
"""The commission reproduces captures of 2023, 2024 and 2026."""
_SPANS = (binary.IN_TICKS, binary.INTRADAY)
_ONE = Decimal(1)
_normal = NormalDist()


def _check(terms: Terms) -> None:
    binary.check_duration(terms, _SPANS)
    if terms.barrier is not None:
        raise refusal("BarrierValidationError", "Only contracts at the money are offered here.", "barrier")


def wins(terms: Terms, entry: Decimal, exit_: Decimal) -> bool:
    """Whether a contract has won, from the quotes of its entry and exit tick."""
    if entry == exit_:
        return terms.contract_type in (CALLE, PUTE)
    return (exit_ > entry) == (terms.contract_type in (CALL, CALLE))


def chance(terms: Terms, seconds: float, spot: Decimal | None, strike: Decimal | None) -> Decimal:
    """The fair probability of winning with a number of seconds left; with none left it is what the spot makes it."""
    rise = terms.contract_type in (CALL, CALLE)
    moneyness = math.log(spot / strike) if spot is not None and strike is not None else 0.0
    deviation = SYMBOLS[terms.symbol].sigma * math.sqrt(max(seconds, 0.0) / SECONDS_PER_YEAR)
    if deviation == 0.0:
        is_won = (moneyness > 0) == rise if moneyness else terms.contract_type in (CALLE, PUTE)
        return _ONE if is_won else Decimal(0)
    # A float occurs only in here.
    up = Decimal(_normal.cdf((moneyness - deviation * deviation / 2) / deviation))
    return up if rise else _ONE - up


def _shortcode(terms: Terms, bought: Price, at: Timeline) -> str:
    return f"{binary.shortcode_head(terms, bought, at)}_S0P_0"


def _category(name: str, rise: str, fall: str) -> Category:
    return Category(
        name=name,
        title="Up/Down",
        barrier_category="euro_atm",
        types=(ContractType(rise, "up", barriers=1), ContractType(fall, "down", barriers=1)),
        spans=_SPANS,
        has_duration=True,
        bounds=_BOUNDS,
        asked=binary.asked,
        request=binary.request,
        check=_check,
        price=partial(binary.price, category=name, own=_BOUNDS, chance=chance),
        greatest_loss=binary.greatest_loss,
        form=binary.FORM,
        shortcode=_shortcode,
        differing_term=binary.differing_term,
        timeline=partial(binary.timeline, entry_counts=False),
        end_s=binary.end_s,
        exits=binary.exits,
        ended=binary.ended,
    )


CALLPUT = _category("callput", CALL, PUT)
CALLPUTEQUAL = _category("callputequal", CALLE, PUTE)

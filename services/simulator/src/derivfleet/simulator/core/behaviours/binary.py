"""Rise/fall and digits: one tick decides, which is known from the start, and they pay all or nothing."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from derivfleet.deriv.categories import digits, rise_fall
from derivfleet.deriv.categories.binary import Chance, bid
from derivfleet.deriv.errors import RequestRefused
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.vocabulary import DurationUnit
from derivfleet.simulator.core.behaviours.behaviour import Behaviour, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.deriv.categories.category import Category
    from derivfleet.deriv.pricing import PriceSettings
    from derivfleet.deriv.terms import Terms
    from derivfleet.simulator.core.contracts import Contract
    from derivfleet.simulator.core.market import Market

    Wins = Callable[[Terms, Decimal, Decimal], bool]

__all__ = ["DIGITS", "RISE_FALL", "RISE_FALL_EQUAL"]

_NOTHING = Decimal("0.00")
_GOALS = {
    "CALL": "is strictly higher than entry spot",
    "PUT": "is strictly lower than entry spot",
    "CALLE": "is higher than or equal to entry spot",
    "PUTE": "is lower than or equal to entry spot",
    "DIGITMATCH": "ends with {digit}",
    "DIGITDIFF": "does not end with {digit}",
    "DIGITOVER": "ends with a digit over {digit}",
    "DIGITUNDER": "ends with a digit under {digit}",
    "DIGITEVEN": "ends with an even digit",
    "DIGITODD": "ends with an odd digit",
}
_UNITS = {
    DurationUnit.TICKS: "tick",
    DurationUnit.SECONDS: "second",
    DurationUnit.MINUTES: "minute",
    DurationUnit.HOURS: "hour",
}


def _longcode(terms: Terms) -> str:
    goal = _GOALS[terms.contract_type].format(digit=terms.barrier)
    unit = _UNITS[terms.unit or DurationUnit.SECONDS]
    span = f"{terms.duration} {unit}{'' if terms.duration == 1 else 's'}"
    return f"Win payout if {SYMBOLS[terms.symbol].display_name} {goal} after {span}."


def _price_moves(terms: Terms) -> bool:
    """Not those of digits, of tick contracts, and of timed ones at the money on the two-second indices."""
    return not terms.in_ticks and not terms.symbol.startswith("R_")


def _next_look_s(contract: Contract, after_s: int) -> int | None:
    decided_s = contract.timeline.decided_s
    return decided_s if decided_s is not None and decided_s > after_s else None


def _outcome(contract: Contract, market: Market, now_s: int, *, wins: Wins) -> Outcome | None:
    terms, at = contract.terms, contract.timeline
    if at.exit_s is None or at.decided_s is None or now_s < at.decided_s:
        return None
    is_won = wins(terms, market.quote(terms.symbol, at.entry_s), market.quote(terms.symbol, at.exit_s))
    return Outcome(contract.payout if is_won else _NOTHING, at.decided_s, at.exit_s)


def _value(
    contract: Contract, market: Market, prices: PriceSettings, now_s: int, *, category: Category, chance: Chance
) -> Decimal:
    terms, at = contract.terms, contract.timeline
    commission = prices.bounds(category.name, category.bounds).commission
    if now_s < at.entry_s:
        return bid(contract.payout, chance(terms, terms.seconds, None, None), commission)
    spot, strike = market.quote(terms.symbol, now_s), market.quote(terms.symbol, at.entry_s)
    left_s = (at.decided_s or now_s) - now_s
    return bid(contract.payout, chance(terms, left_s, spot, strike), commission)


def _entry_spot(_contract: Contract, entry: Decimal | None) -> str | None:
    return None if entry is None else str(entry)


def _digit(contract: Contract, _entry: Decimal | None) -> str | None:
    return contract.terms.barrier


def _refund(_contract: Contract, _now_s: int) -> Decimal:
    raise RequestRefused("CannotCancelContract", "Deal cancellation is not available for this contract.")


def _binary(
    category: Category, wins: Wins, chance: Chance, barrier: Callable[[Contract, Decimal | None], str | None]
) -> Behaviour:
    return Behaviour(
        longcode=_longcode,
        barrier=barrier,
        price_moves=_price_moves,
        next_look_s=_next_look_s,
        outcome=partial(_outcome, wins=wins),
        value=partial(_value, category=category, chance=chance),
        refund=_refund,
    )


RISE_FALL, RISE_FALL_EQUAL = (
    _binary(category, rise_fall.wins, rise_fall.chance, _entry_spot)
    for category in (rise_fall.CALLPUT, rise_fall.CALLPUTEQUAL)
)
DIGITS = _binary(digits.DIGITS, digits.wins, digits.chance, _digit)

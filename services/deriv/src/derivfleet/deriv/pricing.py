"""What contracts of the CALL/PUT and digit families cost and pay.

With ``p`` the fair probability of winning and ``c`` a commission, both as fractions of the payout: ask = payout × (p +
c + markup), bid = payout × (p_now - c), never below 0. At the money, with a driftless geometric Brownian motion and the
commissions below, this gives captured payouts and bids to the cent. Money is Decimal; a float occurs only inside the
normal distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from statistics import NormalDist
from typing import TYPE_CHECKING

from derivfleet.deriv.errors import RequestRefused
from derivfleet.deriv.symbols import SECONDS_PER_YEAR, SYMBOLS
from derivfleet.deriv.vocabulary import Basis, ContractType

if TYPE_CHECKING:
    from derivfleet.deriv.contracts import Terms

__all__ = ["Price", "PriceSettings", "bid_price", "cents", "fair_probability", "price"]

_CENT = Decimal("0.01")
_ONE = Decimal(1)
_normal = NormalDist()


@dataclass(frozen=True, slots=True)
class PriceSettings:
    """Deriv's share, per family, as fractions of the payout, and the bounds of a contract in USD.

    0.012 and 0.010 reproduce captures of 2023 and 2024; a demo capture of 2025 paid EVEN/ODD as if commission and
    markup were 0.017 together. Stake and payout bounds are those of error texts.
    """

    commission_rise_fall: Decimal = Decimal("0.012")
    commission_digits: Decimal = Decimal("0.010")
    markup: Decimal = Decimal(0)
    minimum_stake: Decimal = Decimal("0.35")
    maximum_payout: Decimal = Decimal("50000.00")

    def commission(self, contract_type: ContractType) -> Decimal:
        """The commission of a type's family."""
        return self.commission_digits if contract_type.is_digit else self.commission_rise_fall


@dataclass(frozen=True, slots=True)
class Price:
    """What a contract costs now and pays if it wins, in the account's currency."""

    ask: Decimal
    payout: Decimal


def cents(amount: Decimal) -> Decimal:
    """An amount rounded to cents, halves up."""
    return amount.quantize(_CENT, ROUND_HALF_UP)


def fair_probability(
    terms: Terms, seconds: float, spot: Decimal | None = None, strike: Decimal | None = None
) -> Decimal:
    """The probability of winning, from 0 to 1, with a number of seconds left.

    Without spot and strike a CALL or PUT is at the money. For digits neither they nor the time matter. With no time
    left, a CALL or PUT is what its spot makes it.
    """
    kind = terms.contract_type
    if kind.is_digit:
        return _digit_probability(terms)
    rise = kind in (ContractType.CALL, ContractType.CALLE)
    moneyness = math.log(spot / strike) if spot is not None and strike is not None else 0.0
    deviation = SYMBOLS[terms.symbol].sigma * math.sqrt(max(seconds, 0.0) / SECONDS_PER_YEAR)
    if deviation == 0.0:
        # Equality wins for the types that end in E and loses for the others.
        wins = (moneyness > 0) == rise if moneyness else kind in (ContractType.CALLE, ContractType.PUTE)
        return _ONE if wins else Decimal(0)
    up = Decimal(_normal.cdf((moneyness - deviation * deviation / 2) / deviation))
    return up if rise else _ONE - up


def _digit_probability(terms: Terms) -> Decimal:
    match terms.contract_type:
        case ContractType.DIGITMATCH:
            tenths = 1
        case ContractType.DIGITDIFF:
            tenths = 9
        case ContractType.DIGITOVER:
            tenths = 9 - terms.digit
        case ContractType.DIGITUNDER:
            tenths = terms.digit
        case _:
            tenths = 5
    return Decimal(tenths) / 10


def _out_of_bounds(terms: Terms, current: Decimal, settings: PriceSettings) -> RequestRefused:
    return RequestRefused(
        "ContractBuyValidationError",
        f"Minimum stake of {settings.minimum_stake:.2f} and maximum payout of {settings.maximum_payout:.2f}. "
        f"Current {'payout' if terms.basis is Basis.STAKE else 'stake'} is {current:.2f}.",
        {"field": "amount"},
    )


def price(terms: Terms, settings: PriceSettings = PriceSettings()) -> Price:
    """Ask price and payout of new terms, at the money.

    Raises RequestRefused (ContractBuyValidationError) if the stake is below the minimum or the payout above the
    maximum, in Deriv's words.
    """
    # Whoever pays or wins this much is over the limit either way; rounding numbers far beyond it would fail.
    if terms.amount > settings.maximum_payout:
        raise _out_of_bounds(terms, terms.amount, settings)
    share = fair_probability(terms, terms.seconds) + settings.commission(terms.contract_type) + settings.markup
    if terms.basis is Basis.STAKE:
        found = Price(ask=cents(terms.amount), payout=cents(terms.amount / share))
    else:
        found = Price(ask=cents(terms.amount * share), payout=cents(terms.amount))
    if found.ask < settings.minimum_stake or found.payout > settings.maximum_payout:
        raise _out_of_bounds(terms, found.payout if terms.basis is Basis.STAKE else found.ask, settings)
    return found


def bid_price(
    terms: Terms,
    payout: Decimal,
    seconds: float,
    spot: Decimal | None = None,
    strike: Decimal | None = None,
    settings: PriceSettings = PriceSettings(),
) -> Decimal:
    """What an open contract is worth with a number of seconds left: payout × (p_now - c), in cents, never below 0."""
    chance = fair_probability(terms, seconds, spot, strike)
    return max(Decimal("0.00"), cents(payout * (chance - settings.commission(terms.contract_type))))

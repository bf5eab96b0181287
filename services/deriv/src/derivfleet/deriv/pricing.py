"""What every price has: an ask and a payout, the bounds of its category, and a market's settings for both."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MONEY_DECIMALS", "Bounds", "Price", "PriceSettings", "cents"]

MONEY_DECIMALS = 2
"""USD."""
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Deriv's share as a fraction of the payout, and what a contract may cost and pay, in USD.

    Stake and payout are those of error texts.
    """

    commission: Decimal
    minimum_stake: Decimal = Decimal("0.35")
    maximum_payout: Decimal = Decimal("50000.00")
    stake_decimals: int = MONEY_DECIMALS


@dataclass(frozen=True, slots=True)
class PriceSettings:
    """Where a market's prices differ from what the categories say themselves. Commissions are by category."""

    commissions: Mapping[str, Decimal] = field(default_factory=dict[str, Decimal])
    markup: Decimal = Decimal(0)
    minimum_stake: Decimal | None = None
    maximum_payout: Decimal | None = None

    def bounds(self, category: str, own: Bounds) -> Bounds:
        """A category's bounds in this market."""
        return replace(
            own,
            commission=self.commissions.get(category, own.commission),
            minimum_stake=own.minimum_stake if self.minimum_stake is None else self.minimum_stake,
            maximum_payout=own.maximum_payout if self.maximum_payout is None else self.maximum_payout,
        )


@dataclass(frozen=True, slots=True)
class Price:
    """What a contract costs now and pays if it wins, in the account's currency."""

    ask: Decimal
    payout: Decimal


def cents(amount: Decimal) -> Decimal:
    """An amount rounded to cents, halves up."""
    return amount.quantize(_CENT, ROUND_HALF_UP)

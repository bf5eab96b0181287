"""How much to put on the next trade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["FlatStaking", "money_text"]


@dataclass(frozen=True, slots=True)
class FlatStaking:
    """The same stake always."""

    stake: Decimal

    def next_stake(self) -> Decimal:
        """The stake of the next trade, in the account's currency."""
        return self.stake


def money_text(amount: Decimal) -> str:
    """An amount as it travels: plain digits, two decimals (USD; Deriv refuses more)."""
    return f"{amount:.2f}"

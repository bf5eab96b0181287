"""Contracts that somebody bought."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from derivfleet.deriv.vocabulary import ContractStatus

if TYPE_CHECKING:
    from decimal import Decimal

    from derivfleet.deriv.terms import Terms, Timeline

__all__ = ["Contract", "Sale"]


@dataclass(frozen=True, slots=True)
class Sale:
    """How a contract ended."""

    transaction_id: int
    price: Decimal
    time_s: int
    status: ContractStatus

    @property
    def by_client(self) -> bool:
        """Sold back or cancelled before its end, not settled."""
        return self.status in (ContractStatus.SOLD, ContractStatus.CANCELLED)


@dataclass(slots=True)
class Contract:
    """One purchase. Everything but ``limits`` and ``sale`` is fixed when it is bought."""

    contract_id: int
    account: str
    app_id: str
    terms: Terms
    timeline: Timeline
    buy_price: Decimal
    payout: Decimal
    buy_transaction_id: int
    shortcode: str
    longcode: str
    currency: str
    late_s: int
    """How long after its end it is booked."""
    limits: dict[str, Decimal] = field(default_factory=dict[str, "Decimal"])
    """Amounts of its limit orders, by name: take_profit, stop_loss."""
    sale: Sale | None = None

"""The contract of an order in Deriv's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.deriv.terms import Terms
from derivfleet.deriv.vocabulary import ContractStatus, DurationUnit
from derivfleet.gateway.core.orders.exit import Ending

if TYPE_CHECKING:
    from derivfleet.gateway.core.orders.order import OrderTerms

__all__ = ["ENDING_OF_STATUS", "contract_terms"]

ENDING_OF_STATUS = {
    ContractStatus.OPEN: Ending.NONE,
    ContractStatus.WON: Ending.EXPIRED,
    ContractStatus.LOST: Ending.EXPIRED,
    ContractStatus.SOLD: Ending.SOLD,
    ContractStatus.CANCELLED: Ending.CANCELLED,
}


def contract_terms(terms: OrderTerms, currency: str = "USD") -> Terms:
    """What an order is to buy, as its contract category takes it."""
    return Terms(
        contract_type=terms.contract_type,
        symbol=terms.symbol,
        duration=terms.duration,
        unit=DurationUnit(terms.duration_unit) if terms.duration_unit else None,
        amount=terms.stake,
        currency=currency,
        barrier=terms.barrier or None,
    )

"""An order in Deriv's words, and Deriv's receipt in ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.deriv import requests
from derivfleet.deriv.categories.registry import category_of
from derivfleet.gateway.core.orders.contract import ENDING_OF_STATUS, contract_terms
from derivfleet.gateway.core.orders.exit import Ending
from derivfleet.gateway.core.orders.transitions import Confirmed, Settled

if TYPE_CHECKING:
    from derivfleet.deriv.answers import BuyReceipt, ContractState
    from derivfleet.gateway.core.orders.order import OrderTerms

__all__ = ["confirmed", "purchase", "settled"]


def purchase(terms: OrderTerms, currency: str) -> requests.Buy:
    """A purchase by parameters: one call, on whichever socket, with the stake as the highest price."""
    wanted = contract_terms(terms, currency)
    parameters = requests.BuyParameters(
        amount=wanted.amount,
        basis=wanted.basis,
        contract_type=wanted.contract_type,
        currency=wanted.currency,
        underlying_symbol=wanted.symbol,
        **category_of(wanted.contract_type).request(wanted),
    )
    return requests.Buy(buy="1", price=terms.stake, parameters=parameters)


def confirmed(receipt: BuyReceipt) -> Confirmed:
    """What a receipt says about its order."""
    return Confirmed(
        receipt.contract_id, receipt.transaction_id, receipt.buy_price, receipt.payout, receipt.purchase_time_s
    )


def settled(contract: ContractState) -> Settled | None:
    """What a contract says of its end; None if it is open."""
    if not contract.is_sold or contract.sell_price is None:
        return None
    ending = next((end for status, end in ENDING_OF_STATUS.items() if contract.status == status), Ending.NONE)
    return Settled(contract.sell_price, contract.sell_time_s or 0, ending, contract.sell_transaction_id or 0)

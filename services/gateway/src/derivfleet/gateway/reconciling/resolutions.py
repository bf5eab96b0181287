"""An operator's word for what became of an order, checked against what Deriv shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.deriv import requests
from derivfleet.gateway.core.orders.denials import ResolveRefusedError
from derivfleet.gateway.core.orders.order import Attribution, Order, State
from derivfleet.gateway.core.orders.transitions import Confirmed, NotFound
from derivfleet.gateway.core.reconcile.lost_orders import differing_term
from derivfleet.gateway.core.schedule import GATEWAY
from derivfleet.gateway.reconciling import records as lists

if TYPE_CHECKING:
    from derivfleet.gateway.orders.purchases import Desk

__all__ = ["resolve"]

OPEN_TO_JUDGEMENT = frozenset({State.UNKNOWN, State.NOT_FOUND})


async def resolve(desk: Desk, order: Order, contract_id: int, by: str) -> Order:
    """Tie an order to a contract, or to none (0), because the operator ``by`` says so.

    Raises ResolveRefusedError if that cannot be, CallRefusedError, AnswerLostError or TurnRefusedError if the contract
    could not be read, MalformedAnswer if nobody can read it, JournalError.
    """
    _check_open(order)
    if not contract_id:
        return desk.conclude(order, NotFound(by))
    request = requests.ProposalOpenContract(proposal_open_contract=1, contract_id=contract_id)
    codec = desk.client.pool.login.codec
    contract = codec.decode_contract(await desk.client.call(GATEWAY, request))
    purchase = None if contract is None else lists.of_contract(contract)
    if contract is None or purchase is None:
        raise ResolveRefusedError("CONTRACT_UNKNOWN", f"Deriv shows no contract {contract_id} of a known kind")
    # The read took time.
    order = desk.find(order.order_id) or order
    _check_open(order)
    if desk.feed.journal.claimed(order.account, [contract_id]):
        raise ResolveRefusedError("CONTRACT_TAKEN", f"contract {contract_id} belongs to another order", "contract_id")
    field = differing_term(order, purchase)
    if field is not None:
        message = f"contract {contract_id} is not what order {order.order_id} was to buy: another {field}"
        raise ResolveRefusedError("CONTRACT_DIFFERS", message, field)
    receipt = Confirmed(
        contract_id,
        purchase.transaction_id,
        purchase.price,
        purchase.payout,
        purchase.epoch_s,
        Attribution.OPERATOR,
        by,
    )
    order = desk.confirm(order, receipt)
    desk.on_contract(order, contract)
    return desk.find(order.order_id) or order


def _check_open(order: Order) -> None:
    if order.state not in OPEN_TO_JUDGEMENT:
        message = f"order {order.order_id} is {order.state}: there is nothing to resolve"
        raise ResolveRefusedError("ORDER_NOT_OPEN", message)

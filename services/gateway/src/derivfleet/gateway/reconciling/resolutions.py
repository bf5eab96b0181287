"""An operator's word for what became of an order, checked against what Deriv shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.gateway.core.orders.denials import (
    ContractDiffers,
    ContractTaken,
    ContractUnknown,
    DeniedError,
    OrderNotOpen,
)
from derivfleet.gateway.core.orders.order import Attribution, Order, State
from derivfleet.gateway.core.orders.transitions import Confirmed, NotFound
from derivfleet.gateway.core.reconcile.lost_orders import differing_term
from derivfleet.gateway.reconciling import records

if TYPE_CHECKING:
    from derivfleet.gateway.orders.registry import OrderRegistry
    from derivfleet.gateway.upstream.client import AccountClient

__all__ = ["resolve"]

OPEN_TO_JUDGEMENT = frozenset({State.UNKNOWN, State.NOT_FOUND})


async def resolve(client: AccountClient, registry: OrderRegistry, order: Order, contract_id: int, by: str) -> Order:
    """Tie an order to a contract, or to none (0), because the operator ``by`` says so.

    Raises DeniedError if that cannot be, CallRefusedError or AnswerLostError if the contract
    could not be read, MalformedAnswer if nobody can read it, JournalError.
    """
    _check_open(order)
    if not contract_id:
        return registry.move(order, NotFound(by))
    contract = await records.contract(client, client.pool.login.codec, contract_id)
    purchase = None if contract is None else records.of_contract(contract)
    if contract is None or purchase is None:
        raise DeniedError(ContractUnknown(contract_id))
    # The read took time.
    order = registry.find(order.order_id) or order
    _check_open(order)
    if registry.claimed([contract_id]):
        raise DeniedError(ContractTaken(contract_id, field="contract_id"))
    field = differing_term(order, purchase)
    if field is not None:
        raise DeniedError(ContractDiffers(contract_id, order.order_id, field=field))
    receipt = Confirmed(
        contract_id,
        purchase.transaction_id,
        purchase.price,
        purchase.payout,
        purchase.epoch_s,
        Attribution.OPERATOR,
        by,
    )
    order = registry.confirm(order, receipt)
    registry.on_contract(order.contract_id, contract)
    return registry.find(order.order_id) or order


def _check_open(order: Order) -> None:
    if order.state not in OPEN_TO_JUDGEMENT:
        raise DeniedError(OrderNotOpen(order.order_id, order.state, "there is nothing to resolve"))

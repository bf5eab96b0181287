"""How the contracts of confirmed orders end, from whichever of Deriv's words comes first."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.spans import Attribute, SpanName
from derivfleet.common.telemetry import context_from
from derivfleet.deriv.errors import MalformedAnswer
from derivfleet.gateway import wording
from derivfleet.gateway.core.orders.exit import Ending
from derivfleet.gateway.core.orders.order import Order, State
from derivfleet.gateway.core.orders.transitions import Settled
from derivfleet.gateway.core.reconcile.foreign_trades import ForeignTrade
from derivfleet.gateway.core.reconcile.lost_orders import ending_of
from derivfleet.gateway.reconciling.evidence import Sighting

if TYPE_CHECKING:
    from derivfleet.common.telemetry import OpenSpan, Telemetry
    from derivfleet.connection.connection import Frame
    from derivfleet.deriv.answers import ContractState, Transaction
    from derivfleet.gateway.orders.purchases import Desk

__all__ = ["Settlements"]

_log = structlog.get_logger()

EARLY_SALES_KEPT = 10_000
"""Sales heard of before the receipt of their purchase, or of trades that are not the fleet's."""


class Settlements:
    """The open contracts of one account and the ends of those that nobody knows yet."""

    def __init__(self, desk: Desk, telemetry: Telemetry) -> None:
        self._desk = desk
        self._account = desk.client.account
        self._codec = desk.client.pool.login.codec
        self._clock = desk.client.clock
        self._telemetry = telemetry
        self._by_contract: dict[int, str] = {}
        self._early: OrderedDict[int, Settled] = OrderedDict()
        self._spans: dict[str, OpenSpan] = {}

    def tie(self, order: Order) -> None:
        """A contract has an order now."""
        self._by_contract[order.contract_id] = order.order_id

    def begin(self, order: Order) -> Settled | None:
        """An order was bought just now; its end, if that was heard of before."""
        self.tie(order)
        attributes = {
            Attribute.ACCOUNT: order.account,
            Attribute.BOT: order.bot,
            Attribute.ORDER_ID: order.order_id,
            Attribute.CONTRACT_ID: order.contract_id,
        }
        parent = context_from([("traceparent", order.traceparent)])
        self._spans[order.order_id] = self._telemetry.start(SpanName.SETTLE, attributes, parent)
        early = self._early.pop(order.contract_id, None)
        return None if early is None else replace(early, ending=early.ending or _ending(order, early))

    def end(self, order: Order) -> None:
        """An order's story is over."""
        self._by_contract.pop(order.contract_id, None)
        span = self._spans.pop(order.order_id, None)
        if span is not None:
            span.set({Attribute.STATE: order.state, Attribute.PROFIT: str(order.profit)})
            span.end()

    def on_transaction(self, frame: Frame) -> None:
        """A movement of the account's money, as its own stream tells it."""
        try:
            movement: Transaction | None = self._codec.decode_transaction(frame)
        except MalformedAnswer as error:
            _log.warning("transaction without use", account=self._account, problem=str(error))
            return
        if movement is None or not movement.contract_id:
            return
        contract_id, epoch_s = movement.contract_id, movement.transaction_time_s
        if movement.action == "sell":
            self.settle(contract_id, Settled(movement.amount, epoch_s, Ending.NONE, movement.transaction_id))
        elif movement.action == "buy" and contract_id not in self._by_contract:
            seen = Sighting(contract_id, movement.symbol, -movement.amount, epoch_s, self._clock.now_ns())
            self._desk.evidence.see(seen)

    def on_contract(self, order: Order, contract: ContractState) -> None:
        """What a contract looks like at Deriv: the end of it settles the order."""
        if contract.is_sold and contract.sell_price is not None:
            epoch_s, transaction_id = contract.sell_time_s or 0, contract.sell_transaction_id or 0
            event = Settled(contract.sell_price, epoch_s, wording.ending(contract), transaction_id)
            self.settle(order.contract_id, event)

    def settle(self, contract_id: int, event: Settled) -> None:
        """A contract has ended. What is not known yet is remembered: sales can overtake receipts."""
        desk = self._desk
        order = desk.open.get(self._by_contract.get(contract_id, ""))
        if order is not None:
            desk.conclude(order, replace(event, ending=event.ending or _ending(order, event)))
        elif desk.watched or any(order.state in (State.SENT, State.UNKNOWN) for order in desk.open.values()):
            self._early[contract_id] = event
            if len(self._early) > EARLY_SALES_KEPT:
                self._early.popitem(last=False)
        elif not desk.feed.journal.claimed(self._account, [contract_id]):
            desk.evidence.is_foreign(ForeignTrade(contract_id, "", None, event.sell_epoch_s))


def _ending(order: Order, event: Settled) -> Ending:
    return ending_of(order, event.sell_price, event.sell_epoch_s)

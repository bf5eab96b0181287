"""How the contracts of orders end: the transaction stream's news, also such as overtakes a receipt."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.spans import Attribute, SpanName
from derivfleet.common.telemetry import context_from
from derivfleet.deriv.errors import MalformedAnswer
from derivfleet.gateway.core.orders.exit import Ending
from derivfleet.gateway.core.orders.order import State
from derivfleet.gateway.core.orders.transitions import Settled
from derivfleet.gateway.core.reconcile.foreign_trades import ForeignTrade
from derivfleet.gateway.orders.registry import with_ending
from derivfleet.gateway.reconciling.evidence import Sighting

if TYPE_CHECKING:
    from derivfleet.common.clock import Clock
    from derivfleet.common.telemetry import OpenSpan, Telemetry
    from derivfleet.connection.connection import Frame
    from derivfleet.deriv.answers import Transaction
    from derivfleet.deriv.dialects import Codec
    from derivfleet.gateway.core.orders.order import Order
    from derivfleet.gateway.orders.registry import OrderRegistry
    from derivfleet.gateway.reconciling.evidence import Evidence

__all__ = ["Settlements"]

_log = structlog.get_logger()

EARLY_SALES_KEPT = 10_000
"""Sales heard of before the receipt of their purchase, or of trades that are not the fleet's."""


class Settlements:
    """The ends of one account's contracts, those that nobody knows yet included."""

    def __init__(
        self, registry: OrderRegistry, evidence: Evidence, clock: Clock, codec: Codec, telemetry: Telemetry
    ) -> None:
        self._registry = registry
        self._evidence = evidence
        self._clock = clock
        self._codec = codec
        self._telemetry = telemetry
        self._early: OrderedDict[int, Settled] = OrderedDict()
        self._spans: dict[str, OpenSpan] = {}
        registry.listeners.append(self._heard)

    def _heard(self, before: Order | None, order: Order) -> Settled | None:
        """An order moved: the span of its contract's life begins and ends. Its end may have been heard of before."""
        was_open = before is not None and before.state is State.CONFIRMED
        if order.state is State.CONFIRMED and not was_open:
            parent = context_from([("traceparent", order.traceparent)])
            attributes = {
                Attribute.ACCOUNT: order.account,
                Attribute.BOT: order.bot,
                Attribute.ORDER_ID: order.order_id,
                Attribute.CONTRACT_ID: order.contract_id,
            }
            self._spans[order.order_id] = self._telemetry.start(SpanName.SETTLE, attributes, parent)
            early = self._early.pop(order.contract_id, None)
            return None if early is None else with_ending(order, early)
        if was_open and order.state is not State.CONFIRMED and (span := self._spans.pop(order.order_id, None)):
            span.set({Attribute.STATE: order.state, Attribute.PROFIT: str(order.profit)})
            span.end()
        return None

    def on_transaction(self, frame: Frame) -> None:
        """A movement of the account's money, as its own stream tells it."""
        try:
            movement: Transaction | None = self._codec.decode_transaction(frame)
        except MalformedAnswer as error:
            _log.warning("transaction without use", account=self._registry.account, problem=str(error))
            return
        if movement is None or not movement.contract_id:
            return
        contract_id, epoch_s = movement.contract_id, movement.transaction_time_s
        if movement.action == "sell":
            self.settle(contract_id, Settled(movement.amount, epoch_s, Ending.NONE, movement.transaction_id))
        elif movement.action == "buy" and self._registry.of_contract(contract_id) is None:
            seen = Sighting(contract_id, movement.symbol, -movement.amount, epoch_s, self._clock.now_ns())
            self._evidence.see(seen)

    def settle(self, contract_id: int, event: Settled) -> None:
        """A contract has ended. What is not known yet is remembered: sales can overtake receipts."""
        registry = self._registry
        if registry.settle(contract_id, event):
            return
        if registry.watched or any(order.state in (State.SENT, State.UNKNOWN) for order in registry.open.values()):
            self._early[contract_id] = event
            if len(self._early) > EARLY_SALES_KEPT:
                self._early.popitem(last=False)
        elif not registry.claimed([contract_id]):
            self._evidence.is_foreign(ForeignTrade(contract_id, "", None, event.sell_epoch_s))

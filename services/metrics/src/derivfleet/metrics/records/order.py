"""An order as the gateway's feed tells it, checked and in plain values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from derivfleet.common.clock import NS_PER_S
from derivfleet.common.order_state import OrderState
from derivfleet.common.redaction import redact
from derivfleet.v1 import orders_pb2

if TYPE_CHECKING:
    from derivfleet.v1.orders_pb2 import OrderEvent

__all__ = ["MalformedOrderError", "OrderRecord", "order_of"]

_TRACE_ID = re.compile(r"[0-9a-f]{32}")
_MAX_MONEY = Decimal(10) ** 12


_DECIDABLE = frozenset({OrderState.UNKNOWN, OrderState.NOT_FOUND})
"""A person may decide about them."""
_BOUGHT = frozenset({OrderState.CONFIRMED, OrderState.SETTLED})


class MalformedOrderError(ValueError):
    """An event of the feed that cannot be kept; the text names the order and the field."""


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """The latest state of one order.

    Money is None until known. ``bought_ns`` and ``settled_ns`` say in which period the purchase and the money belong;
    0 while there is none. ``doubt`` is why a person has to decide about an order that is unknown or was not found, as a
    code; empty for others.
    """

    account: str
    order_id: str
    bot: str
    contract_type: str
    symbol: str
    stake: Decimal | None
    duration: int
    duration_unit: str
    barrier: str
    state: OrderState
    contract_id: int
    buy_price: Decimal | None
    payout: Decimal | None
    sell_price: Decimal | None
    profit: Decimal | None
    error_code: str
    error_message: str
    reconciled: bool
    intended_ns: int
    bought_ns: int
    settled_ns: int
    trace_id: str
    position: int
    changed_ns: int
    doubt: str = ""


def order_of(event: OrderEvent) -> OrderRecord:
    """Read one event of the feed.

    A settlement belongs to the second in which Deriv ended the contract (``sell_epoch_s``). So a report equals the
    broker's own statement of that time, even if the news came late. The gateway's time stands in where Deriv gave none.
    Raises MalformedOrderError.
    """
    order = event.order
    if not order.order_id or not order.account or not order.bot:
        raise MalformedOrderError(f"the event at position {event.position} lacks account, bot or order id")
    state = _state_of(order)
    buy_price = _money(order, "buy_price", order.buy_price)
    sell_price = _money(order, "sell_price", order.sell_price)
    profit = _money(order, "profit", order.profit)
    if state is OrderState.SETTLED:
        if profit is None and buy_price is not None and sell_price is not None:
            profit = sell_price - buy_price
        if profit is None:
            raise MalformedOrderError(f"order {order.order_id}: settled without a profit")
    bought_ns = order.answered_time_ns or order.purchase_epoch_s * NS_PER_S or order.sent_time_ns or event.time_ns
    settled_ns = order.sell_epoch_s * NS_PER_S or order.settled_time_ns or event.time_ns
    return OrderRecord(
        account=order.account,
        order_id=order.order_id,
        bot=order.bot,
        contract_type=order.terms.contract_type,
        symbol=order.terms.symbol,
        stake=_money(order, "stake", order.terms.stake),
        duration=order.terms.duration,
        duration_unit=order.terms.duration_unit,
        barrier=order.terms.barrier,
        state=state,
        contract_id=order.contract_id,
        buy_price=buy_price,
        payout=_money(order, "payout", order.payout),
        sell_price=sell_price,
        profit=profit,
        error_code=order.error_code,
        error_message=redact(order.error_message),
        reconciled=order.reconciled,
        intended_ns=order.intended_time_ns,
        bought_ns=bought_ns if state in _BOUGHT else 0,
        settled_ns=settled_ns if state is OrderState.SETTLED else 0,
        trace_id=order.trace_id if _TRACE_ID.fullmatch(order.trace_id) else "",
        position=event.position,
        changed_ns=event.time_ns,
        doubt=order.doubt if state in _DECIDABLE else "",
    )


def _state_of(order: orders_pb2.Order) -> OrderState:
    try:
        name = orders_pb2.OrderState.Name(order.state)
        return OrderState(name.removeprefix("ORDER_STATE_").lower())
    except ValueError:
        raise MalformedOrderError(f"order {order.order_id}: unknown state {order.state}") from None


def _money(order: orders_pb2.Order, field: str, text: str) -> Decimal | None:
    if not text:
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or abs(value) >= _MAX_MONEY:
        raise MalformedOrderError(f"order {order.order_id}: {field} is not an amount: {text[:40]!r}")
    return value

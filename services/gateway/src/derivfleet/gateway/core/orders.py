"""The life of an order.

    intended ──▶ denied
        │
        ▼
       sent ──▶ confirmed ──▶ settled
        │ ├──▶ rejected          ▲
        │ └──▶ denied            │ (found in the account's records)
        └────▶ unknown ──────────┴──▶ not_found ──▶ confirmed (a late record)

Unknown means that the purchase may have happened; it is never resent. ``not_found`` can still be corrected by a
record that turns up later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal  # noqa: TC003 - the journal reads the annotations at run time
from enum import StrEnum
from typing import assert_never

__all__ = [
    "FINAL",
    "Confirmed",
    "Denied",
    "Event",
    "Lost",
    "NotFound",
    "Order",
    "OrderTerms",
    "Rejected",
    "Sent",
    "Settled",
    "State",
    "TransitionError",
    "advance",
    "differing_field",
]


class State(StrEnum):
    """Where an order stands."""

    INTENDED = "intended"
    DENIED = "denied"
    SENT = "sent"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    NOT_FOUND = "not_found"
    SETTLED = "settled"


FINAL = frozenset({State.DENIED, State.REJECTED, State.NOT_FOUND, State.SETTLED})


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """What is to be bought; ``stake`` in the account's currency, ``barrier`` empty where the type has none."""

    contract_type: str
    symbol: str
    stake: Decimal
    duration: int
    duration_unit: str
    barrier: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """An order as far as it is known. Prices are None until known; times are fleet time, epochs Deriv's."""

    account: str
    order_id: str
    bot: str
    terms: OrderTerms
    state: State
    intended_time_ns: int
    traceparent: str = ""
    sent_time_ns: int = 0
    answered_time_ns: int = 0
    settled_time_ns: int = 0
    contract_id: int = 0
    buy_transaction_id: int = 0
    buy_price: Decimal | None = None
    payout: Decimal | None = None
    purchase_epoch_s: int = 0
    sell_price: Decimal | None = None
    sell_epoch_s: int = 0
    error_code: str = ""
    error_message: str = ""
    reconciled: bool = False

    @property
    def profit(self) -> Decimal | None:
        """What the order brought, once settled."""
        if self.buy_price is None or self.sell_price is None:
            return None
        return self.sell_price - self.buy_price

    @property
    def trace_id(self) -> str:
        """32 hex digits out of ``00-<trace>-<span>-<flags>``; empty if the order was not traced."""
        parts = self.traceparent.split("-")
        return parts[1] if len(parts) == 4 else ""  # noqa: PLR2004 - the four fields of W3C's traceparent


@dataclass(frozen=True, slots=True)
class Denied:
    """The gateway will not send it, or knows that it never handed it to a socket."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Sent:
    """It is about to be handed to a socket; written down before that."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Deriv's receipt, or a record of the account that stands for it."""

    contract_id: int
    buy_transaction_id: int
    buy_price: Decimal
    payout: Decimal
    purchase_epoch_s: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """An answer that proves that nothing was bought."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The answer is missing or says nothing: timeout, closed socket, server error, unparsable."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class NotFound:
    """The account's records, read late enough, show no purchase."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The contract has ended or was sold; ``sell_price`` is 0 for a loss."""

    sell_price: Decimal
    sell_epoch_s: int


Event = Denied | Sent | Confirmed | Rejected | Lost | NotFound | Settled

_ALLOWED: dict[type[Event], frozenset[State]] = {
    Denied: frozenset({State.INTENDED, State.SENT}),
    Sent: frozenset({State.INTENDED}),
    Confirmed: frozenset({State.SENT, State.UNKNOWN, State.NOT_FOUND}),
    Rejected: frozenset({State.SENT, State.UNKNOWN}),
    Lost: frozenset({State.SENT}),
    NotFound: frozenset({State.UNKNOWN}),
    Settled: frozenset({State.CONFIRMED}),
}


class TransitionError(Exception):
    """An event that cannot happen to an order in its state: a mistake of ours, never of the caller."""


def advance(order: Order, event: Event, now_ns: int) -> Order:
    """The order after an event. Raises TransitionError if the event does not fit the state."""
    if order.state not in _ALLOWED[type(event)]:
        raise TransitionError(f"order {order.order_id}: {type(event).__name__} does not follow {order.state}")
    match event:
        case Denied(code, message):
            return replace(order, state=State.DENIED, error_code=code, error_message=message, answered_time_ns=now_ns)
        case Sent():
            return replace(order, state=State.SENT, sent_time_ns=now_ns)
        case Confirmed():
            return replace(
                order,
                state=State.CONFIRMED,
                contract_id=event.contract_id,
                buy_transaction_id=event.buy_transaction_id,
                buy_price=event.buy_price,
                payout=event.payout,
                purchase_epoch_s=event.purchase_epoch_s,
                answered_time_ns=now_ns,
                error_code="",
                error_message="",
                reconciled=order.state is not State.SENT,
            )
        case Rejected(code, message):
            return replace(order, state=State.REJECTED, error_code=code, error_message=message, answered_time_ns=now_ns)
        case Lost(code, message):
            return replace(order, state=State.UNKNOWN, error_code=code, error_message=message)
        case NotFound():
            return replace(order, state=State.NOT_FOUND, answered_time_ns=now_ns, reconciled=True)
        case Settled(sell_price, sell_epoch_s):
            return replace(
                order,
                state=State.SETTLED,
                sell_price=sell_price,
                sell_epoch_s=sell_epoch_s,
                settled_time_ns=now_ns,
            )
        case _:
            assert_never(event)


def differing_field(order: Order, bot: str, terms: OrderTerms) -> str | None:
    """Which field keeps a second request with the same id from being the same order; None if it is the same."""
    if order.bot != bot:
        return "bot"
    for name in OrderTerms.__dataclass_fields__:
        if getattr(order.terms, name) != getattr(terms, name):
            return name
    return None

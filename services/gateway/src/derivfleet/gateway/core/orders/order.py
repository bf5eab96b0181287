"""An order: what is to be bought, and what is known of it.

    intended ──▶ denied
        │          ▲ (never handed to a socket)
        ▼          │
       sent ───────┘
        │ ├──▶ rejected
        │ ├──▶ confirmed ──▶ settled (expired, sold or cancelled)
        │ │        ▲
        │ │        │ (found in the account's records, or named by an operator)
        └─┴─▶ unknown ──▶ rejected (a late answer)
                   │└───▶ not_found ──▶ confirmed (a late record: an incident)
                   └◀──── confirmed (no record knows its contract)

Unknown means that the purchase may have happened; it is never resent. ``doubt`` is a mark on it and hands it to an
operator: the records alone will not tell what became of it, though a later one can still decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal  # noqa: TC003 - the journal reads the fields' types
from enum import StrEnum

from derivfleet.gateway.core.orders.exit import (
    Ending,
    Exit,
)
from derivfleet.gateway.core.orders.operations import Walk

__all__ = [
    "FINAL",
    "PURCHASE",
    "Attribution",
    "Candidate",
    "Doubt",
    "Order",
    "OrderTerms",
    "State",
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


PURCHASE = Walk(
    written=State.INTENDED, denied=State.DENIED, sent=State.SENT, rejected=State.REJECTED, unknown=State.UNKNOWN
)
FINAL = frozenset({State.DENIED, State.REJECTED, State.NOT_FOUND, State.SETTLED})


class Attribution(StrEnum):
    """What ties an order to its contract."""

    NONE = ""
    RECEIPT = "receipt"
    """Deriv's own answer."""
    RECORD = "record"
    """The one purchase in the account's records that it can be."""
    INFERRED = "inferred"
    """Lost together with orders like it: their purchases were given out in the order of time."""
    OPERATOR = "operator"
    """A person said so."""


class Doubt(StrEnum):
    """Why the records alone do not tell what became of an order."""

    NONE = ""
    MORE_CANDIDATES = "more_candidates"
    """More purchases than lost orders like it, or such as do not fit them one to one."""
    FOREIGN_TRADES = "foreign_trades"
    """Somebody else buys the like on this account."""
    UNREADABLE = "records_unreadable"
    """The account's records could not be read for a minute."""
    NO_CONTRACT = "no_such_contract"
    """The order was tied to a contract that none of the account's records know."""


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
class Candidate:
    """A purchase in the account's records that a doubtful order may have been."""

    contract_id: int
    purchase_epoch_s: int
    buy_price: Decimal
    payout: Decimal


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
    lost_time_ns: int = 0
    attribution: Attribution = Attribution.NONE
    doubt: Doubt = Doubt.NONE
    candidates: tuple[Candidate, ...] = ()
    found_late: bool = False
    """It was taken for not bought, and a record that came later showed that it was."""
    resolved_by: str = ""
    """The operator who decided; ``answered_time_ns`` is when."""
    ahead_ns: int = 0
    """How far Deriv's clock was ahead of ours when it was sent, by the receipts of that time."""
    ruled_out: tuple[int, ...] = ()
    """The contracts that an operator was shown when deciding that it was not bought: they are not matched again."""
    ending: Ending = Ending.NONE
    sell_transaction_id: int = 0
    exits: tuple[Exit, ...] = ()

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


def differing_field(order: Order, bot: str, terms: OrderTerms) -> str | None:
    """Which field keeps a second request with the same id from being the same order; None if it is the same."""
    if order.bot != bot:
        return "bot"
    fields = OrderTerms.__dataclass_fields__
    return next((name for name in fields if getattr(order.terms, name) != getattr(terms, name)), None)

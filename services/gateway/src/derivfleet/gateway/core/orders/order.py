"""The life of an order.

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

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import assert_never

from derivfleet.gateway.core.orders.exit import (
    ENDINGS,
    Ending,
    Exit,
    ExitDone,
    ExitEvent,
    ExitState,
    ExitTerms,
    added,
    advance_exit,
    after_the_end,
)

__all__ = [
    "FINAL",
    "Attribution",
    "Candidate",
    "Confirmed",
    "Denied",
    "Disproved",
    "Doubt",
    "Doubted",
    "Event",
    "ExitAsked",
    "ExitMoved",
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


@dataclass(frozen=True, slots=True)
class Denied:
    """The gateway will not send it, or knows that it never handed it to a socket."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Sent:
    """It is about to be handed to a socket; written down before that. ``ahead_ns`` is as in ``Order``."""

    ahead_ns: int = 0


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Deriv's receipt, or a record of the account that stands for it."""

    contract_id: int
    buy_transaction_id: int
    buy_price: Decimal
    payout: Decimal
    purchase_epoch_s: int
    attribution: Attribution = Attribution.RECEIPT
    by: str = ""


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
    """The account's records, read late enough, show no purchase; or the operator ``by`` says that there is none."""

    by: str = ""


@dataclass(frozen=True, slots=True)
class Doubted:
    """The records do not tell; an operator has to. ``Doubt.NONE`` takes that back."""

    doubt: Doubt
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Disproved:
    """No record knows the order's contract; ``candidates`` are purchases that may have been meant.

    Nothing was done to such a contract, so none of the order's exits is left open.
    """

    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """The contract has ended or was sold; ``sell_price`` is 0 for a loss."""

    sell_price: Decimal
    sell_epoch_s: int
    ending: Ending = Ending.NONE
    transaction_id: int = 0


@dataclass(frozen=True, slots=True)
class ExitAsked:
    """Something is to be done to the contract; written down before anything else."""

    exit_id: str
    terms: ExitTerms


@dataclass(frozen=True, slots=True)
class ExitMoved:
    """Something happened to one of the order's exits."""

    exit_id: str
    event: ExitEvent


Event = Denied | Sent | Confirmed | Rejected | Lost | NotFound | Doubted | Disproved | Settled | ExitAsked | ExitMoved

_ALLOWED: dict[type[Event], frozenset[State]] = {
    Denied: frozenset({State.INTENDED, State.SENT}),
    Sent: frozenset({State.INTENDED}),
    Confirmed: frozenset({State.SENT, State.UNKNOWN, State.NOT_FOUND}),
    Rejected: frozenset({State.SENT, State.UNKNOWN}),
    Lost: frozenset({State.SENT}),
    NotFound: frozenset({State.UNKNOWN, State.NOT_FOUND}),
    Doubted: frozenset({State.UNKNOWN, State.NOT_FOUND}),
    Disproved: frozenset({State.CONFIRMED}),
    Settled: frozenset({State.CONFIRMED}),
    ExitAsked: frozenset({State.CONFIRMED}),
    ExitMoved: frozenset({State.CONFIRMED, State.SETTLED}),
}
_NAMED_BY = {Attribution.RECEIPT: "Deriv's receipt", Attribution.OPERATOR: "an operator"}


class TransitionError(Exception):
    """An event that cannot happen to an order in its state: a mistake of ours, never of the caller."""


def advance(order: Order, event: Event, now_ns: int) -> Order:
    """The order after an event. Raises TransitionError if the event does not fit the state."""
    if order.state not in _ALLOWED[type(event)]:
        raise TransitionError(f"order {order.order_id}: {type(event).__name__} does not follow {order.state}")
    match event:
        case ExitAsked(exit_id, terms):
            return replace(order, exits=added(order.exits, Exit(exit_id, terms, ExitState.INTENDED, now_ns)))
        case ExitMoved(exit_id, moved):
            return _exit_moved(order, exit_id, moved, now_ns)
        case Settled():
            return _settled(order, event, now_ns)
        case _:
            return _purchase_moved(order, event, now_ns)


def _purchase_moved(
    order: Order, event: Denied | Sent | Confirmed | Rejected | Lost | NotFound | Doubted | Disproved, now_ns: int
) -> Order:
    match event:
        case Denied(code, message):
            return replace(order, state=State.DENIED, error_code=code, error_message=message, answered_time_ns=now_ns)
        case Sent(ahead_ns):
            return replace(order, state=State.SENT, sent_time_ns=now_ns, ahead_ns=ahead_ns)
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
                attribution=event.attribution,
                doubt=Doubt.NONE,
                candidates=(),
                found_late=order.state is State.NOT_FOUND,
                resolved_by=event.by,
            )
        case Rejected(code, message):
            ended = replace(order, state=State.REJECTED, answered_time_ns=now_ns, doubt=Doubt.NONE, candidates=())
            return replace(ended, error_code=code, error_message=message)
        case Lost(code, message):
            return replace(order, state=State.UNKNOWN, error_code=code, error_message=message, lost_time_ns=now_ns)
        case NotFound(by):
            ended = replace(order, state=State.NOT_FOUND, answered_time_ns=now_ns, reconciled=True, resolved_by=by)
            shown = tuple(one.contract_id for one in order.candidates) if by else ()
            return replace(ended, doubt=Doubt.NONE, candidates=(), ruled_out=order.ruled_out + shown)
        case Doubted(doubt, candidates):
            return replace(order, doubt=doubt, candidates=candidates)
        case Disproved(candidates):
            who = order.resolved_by or _NAMED_BY.get(order.attribution, "a record of the account")
            message = f"{who} named contract {order.contract_id}, which none of the account's records know"
            # Of what was said nothing is kept.
            asked = (order.account, order.order_id, order.bot, order.terms)
            sent = Order(*asked, State.UNKNOWN, order.intended_time_ns, order.traceparent, order.sent_time_ns)
            lost_ns = order.lost_time_ns or order.answered_time_ns
            lost = replace(sent, error_code="NO_SUCH_CONTRACT", error_message=message, lost_time_ns=lost_ns)
            exits = tuple(after_the_end(one, Ending.NONE, Decimal(0), 0, now_ns) for one in order.exits)
            doubt = Doubt.NO_CONTRACT
            return replace(lost, doubt=doubt, candidates=candidates, exits=exits, ahead_ns=order.ahead_ns)
        case _:
            assert_never(event)


def _settled(order: Order, event: Settled, now_ns: int) -> Order:
    """The order with its contract ended; no exit of it is left open."""
    end = (event.ending, event.sell_price, event.transaction_id, now_ns)
    return replace(
        order,
        state=State.SETTLED,
        sell_price=event.sell_price,
        sell_epoch_s=event.sell_epoch_s,
        settled_time_ns=now_ns,
        ending=event.ending,
        sell_transaction_id=event.transaction_id,
        exits=tuple(after_the_end(one, *end) for one in order.exits),
    )


def _exit_moved(order: Order, exit_id: str, event: ExitEvent, now_ns: int) -> Order:
    exits = tuple(advance_exit(one, event, now_ns) if one.exit_id == exit_id else one for one in order.exits)
    moved = replace(order, exits=exits)
    if order.state is State.SETTLED and isinstance(event, ExitDone):
        # The news of the sale overtook its receipt, which says more.
        kind = next(one.terms.kind for one in order.exits if one.exit_id == exit_id)
        return replace(moved, ending=ENDINGS.get(kind, order.ending))
    return moved


def differing_field(order: Order, bot: str, terms: OrderTerms) -> str | None:
    """Which field keeps a second request with the same id from being the same order; None if it is the same."""
    if order.bot != bot:
        return "bot"
    fields = OrderTerms.__dataclass_fields__
    return next((name for name in fields if getattr(order.terms, name) != getattr(terms, name)), None)

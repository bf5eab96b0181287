"""What may happen to an order, and what it is afterwards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
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
from derivfleet.gateway.core.orders.operations import Denied, Lost, Rejected, Sent
from derivfleet.gateway.core.orders.order import PURCHASE, Attribution, Candidate, Doubt, Order, State

__all__ = [
    "Confirmed",
    "Disproved",
    "Doubted",
    "Event",
    "ExitAsked",
    "ExitMoved",
    "NotFound",
    "Settled",
    "TransitionError",
    "advance",
]


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


Event = Denied | Sent | Rejected | Lost | Confirmed | NotFound | Doubted | Disproved | Settled | ExitAsked | ExitMoved

_ALLOWED = {
    Confirmed: frozenset({State.SENT, State.UNKNOWN, State.NOT_FOUND}),
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
    if isinstance(event, Denied | Sent | Rejected | Lost):
        fits = PURCHASE.allows(order.state, event)
    else:
        fits = order.state in _ALLOWED[type(event)]
    if not fits:
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
    order: Order, event: Denied | Sent | Rejected | Lost | Confirmed | NotFound | Doubted | Disproved, now_ns: int
) -> Order:
    match event:
        case Sent(ahead_ns):
            return replace(PURCHASE.after(order, event, now_ns), ahead_ns=ahead_ns)
        case Rejected():
            return replace(PURCHASE.after(order, event, now_ns), doubt=Doubt.NONE, candidates=())
        case Denied() | Lost():
            return PURCHASE.after(order, event, now_ns)
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

"""The life of an exit: what is done to the contract of an order, once, under an id of its own.

    intended ──▶ denied | sent ──▶ rejected | done | unknown      as every operation (``core/orders/operations``)
    unknown ──▶ done | not_done | rejected     one look at the contract, late enough, proves which
    sent | unknown ──▶ done | not_done         the contract ended meanwhile: how it ended tells which

Deriv's own answer still corrects what was concluded without it. While an exit is undecided, no other one of its sort
is sent. Selling and cancelling are one sort (the contract ends), changing a limit order is the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from derivfleet.gateway.core.orders.operations import Denied, Lost, Rejected, Sent, Walk

__all__ = [
    "DECIDED",
    "ENDINGS",
    "EXIT",
    "EXITS_KEPT",
    "Ending",
    "Exit",
    "ExitDone",
    "ExitEvent",
    "ExitKind",
    "ExitNotDone",
    "ExitState",
    "ExitTerms",
    "ExitTransitionError",
    "added",
    "advance_exit",
    "after_the_end",
    "differing_exit_field",
    "exit_of",
    "fresh_id",
    "in_the_way",
    "is_late_enough",
    "look_ns",
]

LOOKS_S = (0.0, 1.0, 5.0, 10.0, 30.0)
"""When the contract is looked at, counted from the loss of the answer."""
ARRIVED_AFTER_S = 5.0
"""So long after its socket was given up no frame reaches Deriv any more."""
EXITS_KEPT = 16
"""Exits that an order remembers. Decided ones before these are forgotten, and with them their ids."""


class ExitKind(StrEnum):
    """What is done to the contract."""

    SELL = "sell"
    CANCEL = "cancel"
    UPDATE = "update"

    @property
    def ends_contract(self) -> bool:
        """Whether the contract is over once it is done."""
        return self is not ExitKind.UPDATE


class ExitState(StrEnum):
    """Where an exit stands."""

    INTENDED = "intended"
    DENIED = "denied"
    SENT = "sent"
    DONE = "done"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    NOT_DONE = "not_done"


DECIDED = frozenset({ExitState.DENIED, ExitState.DONE, ExitState.REJECTED, ExitState.NOT_DONE})


class Ending(StrEnum):
    """How a contract came to its end."""

    NONE = ""
    """It is open, or nobody said."""
    EXPIRED = "expired"
    SOLD = "sold"
    CANCELLED = "cancelled"


ENDINGS = {ExitKind.SELL: Ending.SOLD, ExitKind.CANCEL: Ending.CANCELLED}
"""How a contract ends by what is done to it."""


@dataclass(frozen=True, slots=True)
class ExitTerms:
    """What is wanted. ``min_price`` is for sales; ``limits`` for updates: (name, amount), None removes that order."""

    kind: ExitKind
    min_price: Decimal = Decimal(0)
    limits: tuple[tuple[str, Decimal | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Exit:
    """An exit as far as it is known. ``amount`` is what was paid out; times are fleet time."""

    exit_id: str
    terms: ExitTerms
    state: ExitState
    intended_time_ns: int
    sent_time_ns: int = 0
    lost_time_ns: int = 0
    answered_time_ns: int = 0
    amount: Decimal | None = None
    transaction_id: int = 0
    error_code: str = ""
    error_message: str = ""


@dataclass(frozen=True, slots=True)
class ExitDone:
    """Deriv's receipt, or a look at the contract that stands for it. ``transaction_id`` is 0 if that was not told."""

    amount: Decimal | None = None
    transaction_id: int = 0


@dataclass(frozen=True, slots=True)
class ExitNotDone:
    """The contract, looked at late enough, is as if it had never been sent."""


ExitEvent = Denied | Sent | Rejected | Lost | ExitDone | ExitNotDone

EXIT = Walk(
    written=ExitState.INTENDED,
    denied=ExitState.DENIED,
    sent=ExitState.SENT,
    rejected=ExitState.REJECTED,
    unknown=ExitState.UNKNOWN,
    concluded=frozenset({ExitState.DONE, ExitState.NOT_DONE}),
)
_ALLOWED = {
    ExitDone: frozenset({ExitState.SENT, ExitState.UNKNOWN, ExitState.DONE, ExitState.NOT_DONE}),
    ExitNotDone: frozenset({ExitState.SENT, ExitState.UNKNOWN}),
}


class ExitTransitionError(Exception):
    """An event that cannot happen to an exit in its state: a mistake of ours, never of the caller."""


def advance_exit(exit_: Exit, event: ExitEvent, now_ns: int) -> Exit:
    """The exit after an event. Raises ExitTransitionError if the event does not fit the state."""
    match event:
        case ExitDone() | ExitNotDone() if exit_.state not in _ALLOWED[type(event)]:
            raise _unfit(exit_, event)
        case ExitDone(amount, transaction_id):
            amount = exit_.amount if amount is None else amount
            return replace(
                _concluded(exit_, ExitState.DONE, now_ns),
                amount=amount,
                transaction_id=transaction_id or exit_.transaction_id,
            )
        case ExitNotDone():
            return _concluded(exit_, ExitState.NOT_DONE, now_ns)
        case _ if EXIT.allows(exit_.state, event):
            return EXIT.after(exit_, event, now_ns)
        case _:
            raise _unfit(exit_, event)


def _unfit(exit_: Exit, event: ExitEvent) -> ExitTransitionError:
    return ExitTransitionError(f"exit {exit_.exit_id}: {type(event).__name__} does not follow {exit_.state}")


def _concluded(exit_: Exit, state: ExitState, now_ns: int) -> Exit:
    return replace(exit_, state=state, answered_time_ns=now_ns, error_code="", error_message="")


def after_the_end(exit_: Exit, ending: Ending, amount: Decimal, transaction_id: int, now_ns: int) -> Exit:
    """An exit of a contract that has ended: nothing of it is left open."""
    if exit_.state in DECIDED:
        return exit_
    if exit_.state is ExitState.INTENDED:
        return advance_exit(exit_, Denied("ORDER_NOT_OPEN", "its contract has ended before it was sent"), now_ns)
    if ENDINGS.get(exit_.terms.kind) is ending:
        return advance_exit(exit_, ExitDone(amount, transaction_id), now_ns)
    return advance_exit(exit_, ExitNotDone(), now_ns)


def added(exits: tuple[Exit, ...], exit_: Exit) -> tuple[Exit, ...]:
    """The exits with a new one, without the oldest decided ones that are too many."""
    most = [*exits, exit_]
    while len(most) > EXITS_KEPT and (old := next((one for one in most if one.state in DECIDED), None)) is not None:
        most.remove(old)
    return tuple(most)


def in_the_way(exits: tuple[Exit, ...], kind: ExitKind) -> Exit | None:
    """The exit of the same sort that is not decided yet; no other one may be sent before it is."""
    return next(
        (one for one in exits if one.state not in DECIDED and one.terms.kind.ends_contract == kind.ends_contract), None
    )


def fresh_id(exits: tuple[Exit, ...], kind: ExitKind) -> str:
    """An id for a caller who gave none; never one that the order knows."""
    numbers = [int(number) for one in exits if (number := one.exit_id.rpartition("-")[2]).isdecimal()]
    return f"{kind}-{max(numbers, default=0) + 1}"


def differing_exit_field(exit_: Exit, terms: ExitTerms) -> str | None:
    """Which field keeps a second request with the same id from being the same exit; None if it is the same."""
    names = ExitTerms.__dataclass_fields__
    return next((name for name in names if getattr(exit_.terms, name) != getattr(terms, name)), None)


def look_ns(exit_: Exit, looks: int) -> int:
    """When the contract of an exit without an answer is looked at next, after so many looks."""
    over = max(0, looks - len(LOOKS_S) + 1)
    return exit_.lost_time_ns + round((LOOKS_S[min(looks, len(LOOKS_S) - 1)] + over * LOOKS_S[-1]) * 10**9)


def is_late_enough(exit_: Exit, read_ns: int) -> bool:
    """Whether a contract that is open still, read from then on, proves that the exit was not done."""
    return read_ns - exit_.lost_time_ns >= ARRIVED_AFTER_S * 10**9


def exit_of(exits: tuple[Exit, ...], exit_id: str) -> Exit | None:
    """One of an order's exits, if it is remembered."""
    return next((one for one in exits if one.exit_id == exit_id), None)

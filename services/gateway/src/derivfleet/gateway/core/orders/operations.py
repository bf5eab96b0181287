"""A call that moves money, carried out once.

    written ──▶ denied
       │          ▲ (never handed to a socket)
       ▼          │
      sent ───────┘
       │ ├──▶ answered: what is bought, sold or changed is known
       │ └──▶ rejected: Deriv's answer proves that nothing was done
       └────▶ unknown: it may have been done, and it is never sent again

Purchases and exits both walk this way. A :class:`Walk` says what the steps are called in the states of each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, assert_never

from derivfleet.deriv.errors import outcome_of

if TYPE_CHECKING:
    from derivfleet.deriv.vocabulary import Call

__all__ = ["Denied", "Lost", "Rejected", "Sent", "Step", "Walk"]

StateT = TypeVar("StateT", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Denied:
    """The gateway will not send it, or knows that it never handed it to a socket."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Sent:
    """It is about to be handed to a socket; written down before that.

    ``ahead_ns`` is how far Deriv's clock was ahead of ours, by the receipts of that time.
    """

    ahead_ns: int = 0


@dataclass(frozen=True, slots=True)
class Rejected:
    """An answer that proves that nothing was done."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The answer is missing or says nothing: timeout, closed socket, server error, unparsable."""

    code: str
    message: str


Step = Denied | Sent | Rejected | Lost


class Dataclass(Protocol):
    """Any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


OperatedT = TypeVar("OperatedT", bound=Dataclass)
"""What an operation is about: an order, or an exit of one."""


@dataclass(frozen=True, slots=True)
class Walk(Generic[StateT]):
    """What the steps of an operation are called in the states of what it is about."""

    written: StateT
    denied: StateT
    sent: StateT
    rejected: StateT
    unknown: StateT
    concluded: frozenset[StateT] = frozenset()
    """States that were concluded without Deriv's answer, and that a rejection which comes late still corrects."""

    def allows(self, state: StateT, step: Step) -> bool:
        """Whether a step may follow a state."""
        match step:
            case Sent():
                return state is self.written
            case Denied():
                return state in (self.written, self.sent)
            case Lost():
                return state is self.sent
            case Rejected():
                return state in (self.sent, self.unknown) or state in self.concluded
            case _:
                assert_never(step)

    def after(self, what: OperatedT, step: Step, now_ns: int) -> OperatedT:
        """The order or exit after a step that its state allows."""
        match step:
            case Sent():
                return replace(what, state=self.sent, sent_time_ns=now_ns)
            case Denied(code, message) | Rejected(code, message):
                state = self.denied if isinstance(step, Denied) else self.rejected
                return replace(what, state=state, answered_time_ns=now_ns, error_code=code, error_message=message)
            case Lost(code, message):
                return replace(what, state=self.unknown, lost_time_ns=now_ns, error_code=code, error_message=message)
            case _:
                assert_never(step)

    def refused(self, state: StateT, call: Call, code: str, message: str) -> Step | None:
        """What an error of Deriv's means, in time or late; None if it is no news."""
        proves = outcome_of(call, code, message).certainly_not_executed
        step = Rejected(code, message) if proves else Lost(code, message)
        return step if self.allows(state, step) else None

    def unanswered(self, code: str, handed_over: bool, who_tells: str) -> Step:
        """What it means that no answer came; ``who_tells`` says where the truth is then."""
        if not handed_over:
            return Denied("NOT_SENT", "the socket closed before it was sent")
        return Lost(code, f"the answer was lost; {who_tells} will tell")

    def abandoned(self, state: StateT, reason: str) -> Step | None:
        """What becomes of an operation that nobody carries on; None if it needs nobody."""
        if state is self.written:
            return Denied("NOT_SENT", f"{reason} before it was sent")
        if state is self.sent:
            return Lost("ABANDONED", f"{reason} before the answer came")
        return None

"""The vocabulary of a trade: what the bot intends, what it hears, what it does about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

    from derivfleet.bot.core.decisions import Decision
    from derivfleet.common.order_state import OrderState

__all__ = [
    "Action",
    "Ask",
    "AskAgain",
    "CallFailure",
    "CheckOrder",
    "Dropped",
    "Ended",
    "FailureKind",
    "Followed",
    "Holding",
    "Intention",
    "OrderNews",
    "Outcome",
    "Wait",
]


class Outcome(StrEnum):
    """How a trade ended for the bot: with a final state of its order, or without an order."""

    SETTLED = "settled"
    DENIED = "denied"
    REJECTED = "rejected"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    """The gateway answered the call with an error that says no."""
    LAPSED = "lapsed"
    """No answer came while the decision was fresh, and the gateway does not know the order: nothing was bought."""


class FailureKind(StrEnum):
    """What an error of a call means for the order, by its gRPC code."""

    NO = "no"
    LIMIT = "limit"
    """No for now: a limit; the gateway says when to come back."""
    ABSENT = "absent"
    """The gateway does not know what was asked about."""
    SILENCE = "silence"
    """It says nothing about the order: it may have been bought."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A symbol is this replica's to trade until ``expires_ns``, under an epoch."""

    epoch: int
    expires_ns: int


@dataclass(frozen=True, slots=True)
class Intention:
    """A decision with its money and its identity. Times are fleet time."""

    order_id: str
    symbol: str
    decision: Decision
    stake: Decimal
    tick_epoch_s: int
    lease_epoch: int
    """The holding of the symbol under which it was decided."""
    arrived_ns: int
    """When the tick that made the bot decide reached it."""


@dataclass(frozen=True, slots=True)
class OrderNews:
    """What the gateway says of an order."""

    order_id: str
    state: OrderState
    contract_id: int = 0
    profit: Decimal | None = None
    error_code: str = ""
    error_message: str = ""


@dataclass(frozen=True, slots=True)
class CallFailure:
    """A call that failed. ``retry_after_s`` is fleet time; 0 if the gateway said nothing about it."""

    kind: FailureKind
    code: str
    message: str = ""
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the gateway to buy."""

    intention: Intention


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing is known: wait a while, then tell the trader (``on_waited``)."""

    order_id: str
    attempt: int
    """How often nothing was known before; the wait grows with it."""
    least_s: float
    """The gateway asked for at least this much (fleet time)."""


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Ask for the same order again, under the same id."""

    intention: Intention


@dataclass(frozen=True, slots=True)
class CheckOrder:
    """Too late to buy: only ask what became of the order."""

    order_id: str


@dataclass(frozen=True, slots=True)
class Followed:
    """The gateway has the order; the stream of orders will tell how it ends."""

    order_id: str
    news: OrderNews


@dataclass(frozen=True, slots=True)
class Ended:
    """The trade is over."""

    order_id: str
    outcome: Outcome
    profit: Decimal | None = None
    error_code: str = ""
    error_message: str = ""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A decision came too late to be worth anything."""

    symbol: str
    tick_epoch_s: int
    age_s: float


Action = Ask | Wait | AskAgain | CheckOrder | Followed | Ended | Dropped

"""Why the gateway takes no order or exit, or does not send it: a closed set of values that carry their numbers.

A denial's text, its reason over gRPC (``rpc/errors``) and its row in ``docs/orders.md`` come from here alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

__all__ = [
    "DENIALS",
    "ContractDiffers",
    "ContractTaken",
    "ContractUnknown",
    "Denial",
    "DeniedError",
    "DerivSick",
    "ExitDiffers",
    "ExitNotDecided",
    "GatewayEnding",
    "JournalNotWritten",
    "LeaseLost",
    "LimitReached",
    "NotConnected",
    "OrderDiffers",
    "OrderDoubtful",
    "OrderNotOpen",
]


@dataclass(frozen=True, slots=True)
class Denial:
    """Why something is not done; ``str()`` is the reason in words. Spans are nanoseconds of fleet time."""

    code: ClassVar[str]
    meaning: ClassVar[str]
    """One line of the documents' table."""
    words: ClassVar[str]
    """The reason, with what the values say put in."""
    is_whole: ClassVar[bool] = False
    """Whether the words name what they are about, so that nobody has to say it before them."""
    wait_ns: int = field(default=0, kw_only=True)
    """After which another one may go; 0 if nobody can tell."""
    field: str = field(default="", kw_only=True)
    """What of the request is wrong."""

    def __str__(self) -> str:
        return self.words.format(self)

    @property
    def wait_s(self) -> float:
        """The wait in seconds of fleet time; 0 if nobody can tell."""
        return self.wait_ns / 1e9


@dataclass(frozen=True, slots=True)
class GatewayEnding(Denial):
    code = "GATEWAY_ENDING"
    meaning = "the gateway ends and takes nothing new; its successor does"
    words = "the gateway is ending"


@dataclass(frozen=True, slots=True)
class LeaseLost(Denial):
    code = "LEASE_LOST"
    meaning = "another replica trades the symbol, or this one's lease ended while the order waited"
    words = "the lease on {0.symbol} is not (or no longer) this replica's"
    symbol: str


@dataclass(frozen=True, slots=True)
class OrderDoubtful(Denial):
    code = "ORDER_DOUBTFUL"
    meaning = "the bot has one just like it that an operator must decide about"
    words = (
        "{0.doubtful} is just like it, and nobody can tell whether that was bought; "
        "an operator decides with `derivfleet orders resolve {0.doubtful}`"
    )
    doubtful: str


@dataclass(frozen=True, slots=True)
class LimitReached(Denial):
    code = "LIMIT_REACHED"
    meaning = "the call limits leave no room for it before its deadline"
    words = "would start in {0.wait_s:.1f} s because of {0.binding}"
    binding: str
    """The bucket or cap that it would wait for."""


@dataclass(frozen=True, slots=True)
class NotConnected(Denial):
    code = "NOT_CONNECTED"
    meaning = "there was no usable connection to Deriv before the deadline"
    words = "there is no usable connection to Deriv"


@dataclass(frozen=True, slots=True)
class DerivSick(Denial):
    code = "DERIV_SICK"
    meaning = "the circuit breaker is open: too many orders had no answer that says what became of them"
    words = "Deriv is sick: {0.reason}; an order is let through again in {0.wait_s:.1f} s"
    reason: str


@dataclass(frozen=True, slots=True)
class JournalNotWritten(Denial):
    code = "JOURNAL_NOT_WRITTEN"
    meaning = "the journal cannot be written, so nothing is opened"
    words = "{0.problem}"
    problem: str


@dataclass(frozen=True, slots=True)
class OrderDiffers(Denial):
    code = "ORDER_DIFFERS"
    meaning = "the id belongs to an order that differs in a field"
    words = "order {0.order_id} exists with another {0.field}: an order id belongs to one order only"
    is_whole = True
    order_id: str


@dataclass(frozen=True, slots=True)
class ExitDiffers(Denial):
    code = "EXIT_DIFFERS"
    meaning = "the id belongs to an exit of the order that differs in a field"
    words = "exit {0.exit_id} exists with another {0.field}: an exit id belongs to one exit only"
    is_whole = True
    exit_id: str


@dataclass(frozen=True, slots=True)
class OrderNotOpen(Denial):
    code = "ORDER_NOT_OPEN"
    meaning = "the order's state does not allow it"
    words = "order {0.order_id} is {0.state}: {0.why}"
    is_whole = True
    order_id: str
    state: str
    why: str


@dataclass(frozen=True, slots=True)
class ExitNotDecided(Denial):
    code = "EXIT_NOT_DECIDED"
    meaning = "another exit of its sort is under way or unknown"
    words = "exit {0.exit_id} of order {0.order_id} is {0.state}: wait until it is decided"
    is_whole = True
    order_id: str
    exit_id: str
    state: str


@dataclass(frozen=True, slots=True)
class ContractUnknown(Denial):
    code = "CONTRACT_UNKNOWN"
    meaning = "Deriv shows no contract of a known kind under the number that the operator named"
    words = "Deriv shows no contract {0.contract_id} of a known kind"
    is_whole = True
    contract_id: int


@dataclass(frozen=True, slots=True)
class ContractTaken(Denial):
    code = "CONTRACT_TAKEN"
    meaning = "the contract that the operator named belongs to another order"
    words = "contract {0.contract_id} belongs to another order"
    is_whole = True
    contract_id: int


@dataclass(frozen=True, slots=True)
class ContractDiffers(Denial):
    code = "CONTRACT_DIFFERS"
    meaning = "the contract that the operator named is not what the order was to buy"
    words = "contract {0.contract_id} is not what order {0.order_id} was to buy: another {0.field}"
    is_whole = True
    contract_id: int
    order_id: str


DENIALS: tuple[type[Denial], ...] = (
    GatewayEnding,
    LeaseLost,
    OrderDoubtful,
    LimitReached,
    NotConnected,
    DerivSick,
    JournalNotWritten,
    OrderDiffers,
    OrderNotOpen,
    ExitDiffers,
    ExitNotDecided,
    ContractUnknown,
    ContractTaken,
    ContractDiffers,
)


class DeniedError(Exception):
    """The gateway does not do it. Nothing was sent, and nothing was written down."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(str(denial))
        self.denial = denial

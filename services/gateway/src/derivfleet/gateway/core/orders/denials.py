"""Why the gateway takes no order or exit, or does not send it: a closed set of values that carry their numbers.

A denial's text, its reason over gRPC (``rpc/errors``) and its row in ``docs/orders.md`` come from here alone.
"""

from __future__ import annotations

from dataclasses import dataclass
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


class Denial:
    """Why something is not done. ``str()`` is the reason in words; spans are nanoseconds of fleet time."""

    __slots__ = ()
    code: ClassVar[str]
    meaning: ClassVar[str]
    """One line of the documents' table."""
    is_whole: ClassVar[bool] = False
    """Whether the words name what they are about, so that nobody has to say it before them."""


@dataclass(frozen=True, slots=True)
class GatewayEnding(Denial):
    code = "GATEWAY_ENDING"
    meaning = "the gateway ends and takes nothing new; its successor does"

    def __str__(self) -> str:
        return "the gateway is ending"


@dataclass(frozen=True, slots=True)
class LeaseLost(Denial):
    code = "LEASE_LOST"
    meaning = "another replica trades the symbol, or this one's lease ended while the order waited"
    symbol: str

    def __str__(self) -> str:
        return f"the lease on {self.symbol} is not (or no longer) this replica's"


@dataclass(frozen=True, slots=True)
class OrderDoubtful(Denial):
    code = "ORDER_DOUBTFUL"
    meaning = "the bot has one just like it that an operator must decide about"
    doubtful: str

    def __str__(self) -> str:
        return (
            f"{self.doubtful} is just like it, and nobody can tell whether that was bought; "
            f"an operator decides with `derivfleet orders resolve {self.doubtful}`"
        )


@dataclass(frozen=True, slots=True)
class LimitReached(Denial):
    code = "LIMIT_REACHED"
    meaning = "the call limits leave no room for it before its deadline"
    wait_ns: int
    binding: str
    """The bucket or cap that it would wait for."""

    def __str__(self) -> str:
        return f"would start in {self.wait_ns / 1e9:.1f} s because of {self.binding}"


@dataclass(frozen=True, slots=True)
class NotConnected(Denial):
    code = "NOT_CONNECTED"
    meaning = "there was no usable connection to Deriv before the deadline"
    wait_ns: int

    def __str__(self) -> str:
        return "there is no usable connection to Deriv"


@dataclass(frozen=True, slots=True)
class DerivSick(Denial):
    code = "DERIV_SICK"
    meaning = "the circuit breaker is open: too many orders had no answer that says what became of them"
    wait_ns: int
    reason: str

    def __str__(self) -> str:
        return f"Deriv is sick: {self.reason}; an order is let through again in {self.wait_ns / 1e9:.1f} s"


@dataclass(frozen=True, slots=True)
class JournalNotWritten(Denial):
    code = "JOURNAL_NOT_WRITTEN"
    meaning = "the journal cannot be written, so nothing is opened"
    problem: str

    def __str__(self) -> str:
        return self.problem


@dataclass(frozen=True, slots=True)
class OrderDiffers(Denial):
    code = "ORDER_DIFFERS"
    is_whole = True
    meaning = "the id belongs to an order that differs in a field"
    order_id: str
    field: str

    def __str__(self) -> str:
        return f"order {self.order_id} exists with another {self.field}: an order id belongs to one order only"


@dataclass(frozen=True, slots=True)
class ExitDiffers(Denial):
    code = "EXIT_DIFFERS"
    is_whole = True
    meaning = "the id belongs to an exit of the order that differs in a field"
    exit_id: str
    field: str

    def __str__(self) -> str:
        return f"exit {self.exit_id} exists with another {self.field}: an exit id belongs to one exit only"


@dataclass(frozen=True, slots=True)
class OrderNotOpen(Denial):
    code = "ORDER_NOT_OPEN"
    is_whole = True
    meaning = "the order's state does not allow it"
    order_id: str
    state: str
    why: str

    def __str__(self) -> str:
        return f"order {self.order_id} is {self.state}: {self.why}"


@dataclass(frozen=True, slots=True)
class ExitNotDecided(Denial):
    code = "EXIT_NOT_DECIDED"
    is_whole = True
    meaning = "another exit of its sort is under way or unknown"
    order_id: str
    exit_id: str
    state: str

    def __str__(self) -> str:
        return f"exit {self.exit_id} of order {self.order_id} is {self.state}: wait until it is decided"


@dataclass(frozen=True, slots=True)
class ContractUnknown(Denial):
    code = "CONTRACT_UNKNOWN"
    is_whole = True
    meaning = "Deriv shows no contract of a known kind under the number that the operator named"
    contract_id: int

    def __str__(self) -> str:
        return f"Deriv shows no contract {self.contract_id} of a known kind"


@dataclass(frozen=True, slots=True)
class ContractTaken(Denial):
    code = "CONTRACT_TAKEN"
    is_whole = True
    meaning = "the contract that the operator named belongs to another order"
    contract_id: int
    field: str = "contract_id"

    def __str__(self) -> str:
        return f"contract {self.contract_id} belongs to another order"


@dataclass(frozen=True, slots=True)
class ContractDiffers(Denial):
    code = "CONTRACT_DIFFERS"
    is_whole = True
    meaning = "the contract that the operator named is not what the order was to buy"
    contract_id: int
    order_id: str
    field: str

    def __str__(self) -> str:
        return f"contract {self.contract_id} is not what order {self.order_id} was to buy: another {self.field}"


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

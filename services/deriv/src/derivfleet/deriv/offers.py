"""What ``contracts_for`` lists: the contracts of these families on a symbol, and how long they may run."""

from __future__ import annotations

from dataclasses import dataclass

from derivfleet.deriv.contracts import MAXIMUM_TICKS, MAXIMUM_TIMED_S, MINIMUM_TIMED_S
from derivfleet.deriv.vocabulary import ContractType

__all__ = ["Offer", "offers_of"]

_HOUR_S = 3600

_SENTIMENTS = {
    ContractType.CALL: "up",
    ContractType.CALLE: "up",
    ContractType.PUT: "down",
    ContractType.PUTE: "down",
    ContractType.DIGITMATCH: "match",
    ContractType.DIGITDIFF: "differ",
    ContractType.DIGITOVER: "over",
    ContractType.DIGITUNDER: "under",
    ContractType.DIGITEVEN: "even",
    ContractType.DIGITODD: "odd",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to trade a type: durations are texts such as "1t", "15s" or "24h"."""

    contract_type: ContractType
    symbol: str
    expiry_type: str
    shortest: str
    longest: str

    @property
    def category(self) -> str:
        """Deriv's family of the type."""
        if self.contract_type.is_digit:
            return "digits"
        return "callput" if self.contract_type in (ContractType.CALL, ContractType.PUT) else "callputequal"

    @property
    def sentiment(self) -> str:
        """One word for what the buyer hopes."""
        return _SENTIMENTS[self.contract_type]

    @property
    def digits(self) -> tuple[int, ...]:
        """The digits that may be the barrier; empty if the type needs none."""
        match self.contract_type:
            case ContractType.DIGITOVER:
                return tuple(range(9))
            case ContractType.DIGITUNDER:
                return tuple(range(1, 10))
            case kind:
                return tuple(range(10)) if kind.needs_digit else ()


def offers_of(symbol: str) -> tuple[Offer, ...]:
    """All offers on a symbol. They are the same for every symbol of this package."""
    found: list[Offer] = []
    for kind in ContractType:
        found.append(Offer(kind, symbol, "tick", "1t", f"{MAXIMUM_TICKS}t"))
        if not kind.is_digit:
            longest = f"{MAXIMUM_TIMED_S // _HOUR_S}h"
            found.append(Offer(kind, symbol, "intraday", f"{MINIMUM_TIMED_S}s", longest))
    return tuple(found)

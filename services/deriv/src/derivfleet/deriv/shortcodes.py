"""Shortcodes: one line of text that says what a contract is. The amount in it is the payout."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from derivfleet.deriv.vocabulary import ContractType

if TYPE_CHECKING:
    from derivfleet.deriv.contracts import Terms

__all__ = ["Shortcode", "format_shortcode", "parse"]

_TYPES = "|".join(sorted(ContractType, key=len, reverse=True))
_SHAPE = re.compile(
    rf"(?P<type>{_TYPES})_(?P<symbol>(?:R|OTC)_[A-Za-z0-9]+|[A-Za-z0-9]+)_(?P<payout>\d+(?:\.\d+)?)_(?P<start>\d{{1,10}})F?"
    r"_(?:(?P<ticks>\d{1,3})T|(?P<expiry>\d{1,10})F?)(?:_(?P<barrier>[^_\s]+)(?:_(?P<barrier2>[^_\s]+))?)?",
    re.ASCII,
)
"""Symbols may hold an underscore (R_100, OTC_NDX), so the symbol is matched before the rest is split."""


@dataclass(frozen=True, slots=True)
class Shortcode:
    """What a shortcode says. Exactly one of ``duration_ticks`` and ``expiry_s`` is set."""

    contract_type: ContractType
    symbol: str
    payout: Decimal
    start_s: int
    """Equals the purchase time."""
    duration_ticks: int | None
    expiry_s: int | None
    barrier: str | None
    """The digit of a digit contract; ``S0P`` (the entry spot) for CALL and PUT at the money."""


def format_shortcode(terms: Terms, payout: Decimal, purchase_s: int, expiry_s: int) -> str:
    """The shortcode of a contract bought in a given second."""
    end = f"{terms.duration}T" if terms.in_ticks else str(expiry_s)
    head = f"{terms.contract_type}_{terms.symbol}_{payout:.2f}_{purchase_s}_{end}"
    if terms.contract_type.needs_digit:
        return f"{head}_{terms.barrier}_0"
    return head if terms.contract_type.is_digit else f"{head}_S0P_0"


def parse(text: str) -> Shortcode | None:
    """Read a shortcode of the CALL/PUT and digit families; None for anything else, for it must never break a
    settlement.
    """
    found = _SHAPE.fullmatch(text)
    if not found:
        return None
    return Shortcode(
        contract_type=ContractType(found["type"]),
        symbol=found["symbol"],
        payout=Decimal(found["payout"]),
        start_s=int(found["start"]),
        duration_ticks=int(found["ticks"]) if found["ticks"] else None,
        expiry_s=int(found["expiry"]) if found["expiry"] else None,
        barrier=found["barrier"],
    )

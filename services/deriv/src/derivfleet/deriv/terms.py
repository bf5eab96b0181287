"""A contract as it is asked for, as it is recorded, and when its ticks fall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.vocabulary import Basis, DurationUnit

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["UNIT_S", "Shortcode", "Terms", "Timeline"]

UNIT_S = {DurationUnit.SECONDS: 1, DurationUnit.MINUTES: 60, DurationUnit.HOURS: 3600, DurationUnit.DAYS: 86_400}


@dataclass(frozen=True, slots=True)
class Terms:
    """What a contract is. ``barrier`` is as the wire writes it, None where there is none.

    ``duration`` is 0 and ``unit`` None where the category has no duration.
    """

    contract_type: str
    symbol: str
    duration: int
    unit: DurationUnit | None
    amount: Decimal
    basis: Basis = Basis.STAKE
    currency: str = "USD"
    barrier: str | None = None

    @property
    def in_ticks(self) -> bool:
        """Whether the duration counts ticks."""
        return self.unit is DurationUnit.TICKS

    @property
    def seconds(self) -> int:
        """The duration that prices use: ticks times their spacing, or the clock's. KeyError for an unknown symbol."""
        if self.unit is None:
            return 0
        if self.in_ticks:
            return self.duration * SYMBOLS[self.symbol].tick_spacing_s
        return self.duration * UNIT_S[self.unit]


@dataclass(frozen=True, slots=True)
class Shortcode:
    """What an account's record says of a contract. At most one of ``duration_ticks`` and ``expiry_s`` is set."""

    contract_type: str
    symbol: str
    payout: Decimal
    """0 where the record does not tell."""
    start_s: int
    """Equals the purchase time."""
    duration_ticks: int | None
    expiry_s: int | None
    barrier: str | None
    """The digit of a digit contract; ``S0P`` (the entry spot) for CALL and PUT at the money."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """When a contract's ticks fall, all in epoch seconds."""

    purchase_s: int
    entry_s: int
    """The first tick after the second of purchase."""
    exit_s: int | None
    """The tick that decides; None where any tick can."""
    expiry_s: int
    """``date_expiry``: the exit tick of a tick contract, purchase plus duration of a timed one."""
    tick_epochs: range
    """``tick_stream`` of a tick contract at its end; empty for any other."""

    @property
    def decided_s(self) -> int | None:
        """From which second on the outcome is known; None where the ticks decide about that, too."""
        return None if self.exit_s is None else max(self.exit_s, self.expiry_s)

"""What the simulated service must know of a contract category to carry its contracts on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from derivfleet.deriv.pricing import PriceSettings
    from derivfleet.deriv.terms import Terms
    from derivfleet.simulator.core.contracts import Contract
    from derivfleet.simulator.core.market import Market

__all__ = ["Behaviour", "Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a contract pays by itself, once its ticks have decided that."""

    amount: Decimal
    decided_s: int
    """From which second on it is known."""
    exit_s: int
    """The tick that decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How the contracts of a category go on. Where it may refuse, it raises RequestRefused."""

    longcode: Callable[[Terms], str]
    """One sentence for people. Deriv's own wording is not documented."""
    barrier: Callable[[Contract, Decimal | None], str | None]
    """The barrier that an open-contract message shows, with the entry spot if it has come."""
    price_moves: Callable[[Terms], bool]
    """Whether the price of new terms changes from tick to tick, so that a proposal of it is streamed."""
    next_look_s: Callable[[Contract, int], int | None]
    """The first second after another in which the contract can end by itself; None if it never will."""
    outcome: Callable[[Contract, Market, int], Outcome | None]
    """What has come of it by a second; None if it goes on."""
    value: Callable[[Contract, Market, PriceSettings, int], Decimal]
    """What it is worth while it goes on."""
    refund: Callable[[Contract, int], Decimal]
    """What its cancellation pays back. Refuses if that is not to be had."""

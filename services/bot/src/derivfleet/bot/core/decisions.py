"""What a strategy may decide, and what a strategy is to the trader."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

    from derivfleet.deriv.ticks import Tick

__all__ = ["Decision", "NextStake", "Strategy"]


@dataclass(frozen=True, slots=True)
class Decision:
    """A contract that a strategy wants. The stake is not its business."""

    contract_type: str
    duration_ticks: int
    barrier: str | None = None
    """The digit for DIGITOVER and DIGITUNDER."""


Strategy = Callable[[Sequence["Tick"]], Decision | None]
"""From the latest ticks of one symbol (oldest first) to a decision."""

NextStake = Callable[[], "Decimal"]
"""The stake of the next trade, in the account's currency."""

"""Orders as the journal writes them down."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import TypeAdapter

from derivfleet.gateway.core.orders.order import Order, State

__all__ = ["ENDED", "ORDER", "JournalEvent", "ended_ns_of", "profit_of"]

ORDER = TypeAdapter(Order)
ENDED = frozenset({State.SETTLED, State.DENIED, State.REJECTED})
"""After these nothing comes, so such an order may go to the archive. A late record corrects ``not_found``."""


@dataclass(frozen=True, slots=True)
class JournalEvent:
    """One transition: the order as it was after it."""

    position: int
    time_ns: int
    order: Order


def ended_ns_of(order: Order, time_ns: int) -> int:
    """When the order ended, if its newest transition, at ``time_ns``, was the last one; else 0."""
    return max(1, time_ns) if order.state in ENDED else 0


def profit_of(order: Order) -> str:
    """As it stands in its column: a decimal string, empty if there is none."""
    return "" if order.profit is None else str(order.profit)

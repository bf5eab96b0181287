"""Where an order stands: one word for each state, in whatever service (``derivfleet.v1.OrderState`` on the wire)."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["FINAL", "OrderState"]


class OrderState(StrEnum):
    """Where an order stands, as the gateway tells."""

    INTENDED = "intended"
    DENIED = "denied"
    SENT = "sent"
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    NOT_FOUND = "not_found"
    SETTLED = "settled"


FINAL = frozenset({OrderState.DENIED, OrderState.REJECTED, OrderState.NOT_FOUND, OrderState.SETTLED})
"""States that nothing follows on (``orders.proto``)."""

"""How far Deriv's clock is ahead of ours, by what receipts say: each purchase is made between sending and answer."""

from __future__ import annotations

from collections import deque
from statistics import median_low
from typing import TYPE_CHECKING

from derivfleet.gateway.core.orders.order import Attribution

if TYPE_CHECKING:
    from derivfleet.gateway.core.orders.order import Order

__all__ = ["KEPT", "Skew"]

KEPT = 200
NEAREST = 15
"""A receipt tells no more than the second, and one may be late or wrong: of so many the middle one is believed."""


class Skew:
    """What an account's receipts say. Each machine has its own clock, and a clock may be set: the nearest count."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int]] = deque(maxlen=KEPT)

    def see(self, order: Order) -> None:
        """Learn from an order that was confirmed; only a receipt in its time tells anything."""
        if order.attribution is Attribution.RECEIPT and not order.reconciled:
            middle_ns = (order.sent_time_ns + order.answered_time_ns) // 2
            ahead_ns = order.purchase_epoch_s * 10**9 + 5 * 10**8 - middle_ns
            self._seen.append((order.sent_time_ns, ahead_ns))

    def ahead_ns(self, at_ns: int) -> int:
        """The estimate for a time of ours, in nanoseconds, right to about half a second; 0 if nothing is known."""
        nearest = sorted(self._seen, key=lambda one: abs(one[0] - at_ns))[:NEAREST]
        return median_low(ahead_ns for _, ahead_ns in nearest) if nearest else 0

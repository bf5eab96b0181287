"""Which purchases on the account's statement are the orders whose answers were lost.

Deriv stores no id of ours, so a purchase is recognised by what was bought, for how much, and when. Identical orders
cannot be told apart; they are assigned in the order of time, and no order waits for another's fate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from derivfleet.gateway.core.orders import Confirmed, Order

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from decimal import Decimal

__all__ = ["ABSENT_AFTER_S", "CLOCK_SLACK_S", "READ_AFTER_S", "LostOrder", "Purchase", "assign", "is_proven_absent"]

CLOCK_SLACK_S = 2
"""Deriv's purchase times have whole seconds, and its clock is not ours."""

READ_AFTER_S = (1.0, 2.0, 5.0, 10.0, 30.0)
"""When the statement is read for a lost order, counted from the loss. Statements may lag behind a purchase."""

ABSENT_AFTER_S = 30.0
CLEAN_READS_NEEDED = 2


@dataclass(frozen=True, slots=True)
class Purchase:
    """A row of the statement, with what its shortcode says. ``duration_ticks`` is None for a timed contract."""

    contract_id: int
    transaction_id: int
    price: Decimal
    payout: Decimal
    epoch_s: int
    contract_type: str
    symbol: str
    barrier: str
    duration_ticks: int | None
    expiry_s: int | None


@dataclass(frozen=True, slots=True)
class LostOrder:
    """An order without an answer: it can only have been bought between its sending and the loss."""

    order: Order
    lost_time_ns: int
    clean_reads: int = 0


_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NO_BARRIER = frozenset({"", "S0P", "0"})


def _same_terms(order: Order, purchase: Purchase) -> bool:
    terms = order.terms
    if (terms.contract_type, terms.symbol, terms.stake) != (
        purchase.contract_type,
        purchase.symbol,
        purchase.price,
    ):
        return False
    if terms.barrier != purchase.barrier and not {terms.barrier, purchase.barrier} <= _NO_BARRIER:
        return False
    if terms.duration_unit == "t":
        return purchase.duration_ticks == terms.duration
    length_s = terms.duration * _UNIT_S.get(terms.duration_unit, 0)
    return purchase.expiry_s is not None and purchase.expiry_s - purchase.epoch_s == length_s


def _in_time(order: Order, until_ns: int, purchase: Purchase, slack_s: float) -> bool:
    return order.sent_time_ns // 10**9 - slack_s <= purchase.epoch_s <= until_ns // 10**9 + slack_s


def assign(
    lost: Sequence[LostOrder],
    in_flight: Sequence[Order],
    purchases: Sequence[Purchase],
    claimed: Collection[int],
    now_ns: int,
    slack_s: float = CLOCK_SLACK_S,
) -> list[tuple[Order, Confirmed]]:
    """Match lost orders with purchases that no other order has claimed (``claimed`` holds contract ids).

    ``slack_s`` is how far Deriv's seconds may lie outside of ours, and how long a frame may still be on its way when
    its socket is given up. A purchase that an order still in flight might get a receipt for is left alone until that
    order is answered.
    """
    found: list[tuple[Order, Confirmed]] = []
    free = sorted(
        (
            purchase
            for purchase in purchases
            if purchase.contract_id not in claimed
            and not any(
                _same_terms(order, purchase) and _in_time(order, now_ns, purchase, slack_s) for order in in_flight
            )
        ),
        key=lambda purchase: (purchase.epoch_s, purchase.contract_id),
    )
    for entry in sorted(lost, key=lambda entry: (entry.order.sent_time_ns, entry.order.order_id)):
        order = entry.order
        for purchase in free:
            if _same_terms(order, purchase) and _in_time(order, entry.lost_time_ns, purchase, slack_s):
                free.remove(purchase)
                receipt = Confirmed(
                    purchase.contract_id,
                    purchase.transaction_id,
                    purchase.price,
                    purchase.payout,
                    purchase.epoch_s,
                )
                found.append((order, receipt))
                break
    return found


def is_proven_absent(entry: LostOrder, now_ns: int, absent_after_s: float = ABSENT_AFTER_S) -> bool:
    """Whether "not in the statement" may be believed: late enough, and read without error more than once."""
    return entry.clean_reads >= CLEAN_READS_NEEDED and now_ns - entry.lost_time_ns >= absent_after_s * 10**9

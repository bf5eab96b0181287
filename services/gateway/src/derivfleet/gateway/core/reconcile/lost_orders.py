"""What became of the orders whose answers were lost, by the account's own records.

Deriv stores no id of ours, so a purchase is recognised by what was bought, for how much, and when. Lost orders and the
purchases that fit them make groups; each group is judged by itself:

- as many purchases as orders, and they fit one to one: all were bought. With more than one, which is which is inferred
  from the order of time.
- fewer: so many of them were bought, and which is inferred from what was sent nearest to each: alike as they are, it
  makes no difference to the account. That is believed only once the records have had their time.
- more, or such as do not fit one to one: nobody can tell, so an operator is asked (``doubt``).
- no purchase: not bought, once the records have had their time (``is_proven_absent``).

A group that an order still in flight may have a part in is left alone until that order is answered. Nobody but the
orders of a group waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from derivfleet.deriv.categories.category import Ended
from derivfleet.deriv.categories.registry import find
from derivfleet.gateway.core.orders.contract import ENDING_OF_STATUS, contract_terms
from derivfleet.gateway.core.orders.exit import Ending
from derivfleet.gateway.core.orders.order import Attribution, Candidate, Doubt, Order, State
from derivfleet.gateway.core.orders.transitions import Confirmed, Doubted, NotFound
from derivfleet.gateway.core.reconcile.matching import cheapest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from derivfleet.deriv.terms import Shortcode

__all__ = [
    "ABSENT_AFTER_S",
    "CLOCK_SLACK_S",
    "PLAN",
    "UNREADABLE_AFTER_S",
    "WATCHED_FOR_S",
    "LostOrder",
    "Purchase",
    "Read",
    "Verdict",
    "candidate_of",
    "differing_term",
    "due",
    "end_s",
    "ending_of",
    "fits",
    "is_proven_absent",
    "is_unreadable",
    "is_watched",
    "judge",
    "looks_like",
    "span_s",
    "steps_served",
]

CLOCK_SLACK_S = 2
"""Deriv's purchase times have whole seconds, and its clock is not ours."""
ABSENT_AFTER_S = 30.0
CLEAN_READS_NEEDED = 2
UNREADABLE_AFTER_S = 60.0
WATCHED_FOR_S = 600.0
"""How long an order that was not found is watched for: how far the statement can lag behind is not documented."""


class Read(StrEnum):
    """A list that tells of purchases. One read serves all lost orders of an account."""

    PORTFOLIO = "portfolio"
    """Open contracts: what is not there proves nothing, for short ones are over."""
    STATEMENT = "statement"


PLAN: tuple[tuple[float, Read], ...] = (
    (1.0, Read.PORTFOLIO),
    *((after_s, Read.STATEMENT) for after_s in (2.0, 5.0, 10.0, 30.0, 45.0)),
    *((60.0 * minute, Read.STATEMENT) for minute in range(1, 12)),
)
"""What is read when, in seconds from the loss of the answer. After the last step it goes on at ``SLOW_S``."""
SLOW_S = 600.0


@dataclass(frozen=True, slots=True)
class Purchase:
    """A purchase in the records, with what its shortcode says."""

    contract_id: int
    transaction_id: int
    price: Decimal
    payout: Decimal
    epoch_s: int
    shortcode: Shortcode

    @property
    def symbol(self) -> str:
        """On which market."""
        return self.shortcode.symbol


@dataclass(frozen=True, slots=True)
class LostOrder:
    """An order without an answer: it can only have been bought between its sending and the loss.

    ``clean_reads`` counts whole statements read for it without error, ``read_ns`` is when the last of them began.
    """

    order: Order
    clean_reads: int = 0
    read_ns: int = 0


Verdict = Confirmed | Doubted | NotFound

_SECOND_SQUARED = 10**18


def differing_term(order: Order, purchase: Purchase) -> str | None:
    """In which of its terms a purchase is not what the order was to buy; None if in none."""
    shown = purchase.shortcode
    for name, value in (
        ("contract_type", shown.contract_type),
        ("symbol", shown.symbol),
        ("stake", purchase.price),
    ):
        if getattr(order.terms, name) != value:
            return name
    category = find(shown.contract_type)
    return "contract_type" if category is None else category.differing_term(contract_terms(order.terms), shown)


def span_s(order: Order, now_ns: int, slack_s: float = CLOCK_SLACK_S) -> tuple[int, float]:
    """The first and the last second of Deriv's clock in which an order can have been bought; as late as now if its
    receipt may still come. Whole seconds that the clocks were apart are allowed for, and the rest is within the slack.
    """
    until_ns = order.lost_time_ns if order.state in (State.UNKNOWN, State.NOT_FOUND) else now_ns
    ahead_s = int(order.ahead_ns / 10**9)
    first_s = order.sent_time_ns // 10**9 - CLOCK_SLACK_S + min(0, ahead_s)
    return first_s, until_ns // 10**9 + slack_s + max(0, ahead_s)


def _in_time(order: Order, now_ns: int, epoch_s: int, slack_s: float) -> bool:
    first_s, last_s = span_s(order, now_ns, slack_s)
    return first_s <= epoch_s <= last_s


def fits(order: Order, purchase: Purchase, now_ns: int, slack_s: float = CLOCK_SLACK_S) -> bool:
    """Whether a purchase can be this order's. ``slack_s`` is how long after the loss its frame may still arrive."""
    is_like = differing_term(order, purchase) is None and _in_time(order, now_ns, purchase.epoch_s, slack_s)
    return is_like and purchase.contract_id not in order.ruled_out


def candidate_of(purchase: Purchase) -> Candidate:
    """What an operator is shown of a purchase."""
    return Candidate(purchase.contract_id, purchase.epoch_s, purchase.price, purchase.payout)


def looks_like(
    order: Order, symbol: str | None, price: Decimal, epoch_s: int, now_ns: int, slack_s: float = CLOCK_SLACK_S
) -> bool:
    """Whether a movement of the account's money, which does not tell what was bought, can be this order's."""
    return (
        price == order.terms.stake
        and symbol in (None, order.terms.symbol)
        and _in_time(order, now_ns, epoch_s, slack_s)
    )


def judge(
    lost: Sequence[LostOrder],
    in_flight: Sequence[Order],
    purchases: Sequence[Purchase],
    now_ns: int,
    slack_s: float = CLOCK_SLACK_S,
    absent_after_s: float = ABSENT_AFTER_S,
    is_foreign_like: Callable[[Order], bool] = lambda _: False,
    ahead_ns: Callable[[int], int] = lambda _: 0,
) -> list[tuple[Order, Verdict]]:
    """What the purchases that no order has claimed say about the lost orders; an order without news is not listed.

    ``is_foreign_like`` tells whether somebody else buys what an order buys: then nothing is matched blindly.
    ``ahead_ns`` tells how far Deriv's clock was ahead of ours at a time of ours, as far as is known by now.
    """
    verdicts: list[tuple[Order, Verdict]] = []
    grouped: set[str] = set()
    for entries, candidates in _groups(lost, purchases, now_ns, slack_s):
        orders = [entry.order for entry in entries]
        grouped |= {order.order_id for order in orders}
        if any(fits(order, purchase, now_ns, slack_s) for order in in_flight for purchase in candidates):
            continue
        pairs = _paired(orders, candidates, now_ns, slack_s, ahead_ns)
        is_foreign = any(map(is_foreign_like, orders))
        if is_foreign or len(pairs) < len(candidates):
            doubt = Doubt.FOREIGN_TRADES if is_foreign else Doubt.MORE_CANDIDATES
            shown = tuple(map(candidate_of, candidates))
            verdicts += [(order, Doubted(doubt, shown)) for order in orders]
        elif len(pairs) == len(orders) or all(is_proven_absent(entry, absent_after_s) for entry in entries):
            how = Attribution.RECORD if len(orders) == 1 else Attribution.INFERRED
            verdicts += [(order, _receipt(purchase, how)) for order, purchase in pairs]
            grouped -= {order.order_id for order in orders} - {order.order_id for order, _ in pairs}
    alone = [entry for entry in lost if entry.order.order_id not in grouped]
    return verdicts + [(entry.order, verdict) for entry in alone if (verdict := _of_nothing(entry, absent_after_s))]


def _of_nothing(entry: LostOrder, absent_after_s: float) -> Verdict | None:
    """What it says about an order that no purchase fits it."""
    order = entry.order
    if order.state is State.UNKNOWN and is_proven_absent(entry, absent_after_s):
        return NotFound()
    # Not before a whole statement was read: a gateway that has just started knows of no candidates yet.
    return Doubted(Doubt.NONE) if order.doubt is not Doubt.NONE and entry.clean_reads else None


def _groups(
    lost: Sequence[LostOrder], purchases: Sequence[Purchase], now_ns: int, slack_s: float
) -> list[tuple[list[LostOrder], list[Purchase]]]:
    """Orders and purchases that hang together by what fits; orders by their sending, purchases by their time."""
    groups: list[tuple[list[LostOrder], dict[int, Purchase]]] = []
    for entry in lost:
        entries = [entry]
        candidates = {one.contract_id: one for one in purchases if fits(entry.order, one, now_ns, slack_s)}
        apart: list[tuple[list[LostOrder], dict[int, Purchase]]] = []
        for group in groups:
            if candidates.keys().isdisjoint(group[1]):
                apart.append(group)
            else:
                entries += group[0]
                candidates |= group[1]
        groups = [*apart, (entries, candidates)] if candidates else groups
    return [
        (
            sorted(entries, key=lambda entry: (entry.order.sent_time_ns, entry.order.order_id)),
            sorted(candidates.values(), key=lambda one: (one.epoch_s, one.contract_id)),
        )
        for entries, candidates in groups
    ]


def _paired(
    orders: Sequence[Order],
    candidates: Sequence[Purchase],
    now_ns: int,
    slack_s: float,
    ahead_ns: Callable[[int], int],
) -> list[tuple[Order, Purchase]]:
    """Orders with purchases in their order, as many as possible, and as near to their sendings as can be.

    A frame arrives soon after its sending, so the squares of what is between are added up: of two alike the one that
    was sent first was bought first. Those that the records have not shown yet are the less likely ones.
    """
    due_ns = [order.sent_time_ns + ahead_ns(order.sent_time_ns) for order in orders]
    costs = [
        {
            index: (one.epoch_s * 10**9 + 5 * 10**8 - due_ns[index]) ** 2
            + _SECOND_SQUARED * (order.state is State.NOT_FOUND)
            for index, order in enumerate(orders)
            if fits(order, one, now_ns, slack_s)
        }
        for one in candidates
    ]
    given = sorted((which, index) for index, which in cheapest(costs).items())
    return [(orders[index], candidates[which]) for which, index in given]


def _receipt(purchase: Purchase, attribution: Attribution) -> Confirmed:
    return Confirmed(
        purchase.contract_id,
        purchase.transaction_id,
        purchase.price,
        purchase.payout,
        purchase.epoch_s,
        attribution,
    )


def is_proven_absent(entry: LostOrder, absent_after_s: float = ABSENT_AFTER_S) -> bool:
    """Whether "not in the statement" may be believed: read more than once without error, the last time late enough."""
    late_ns = entry.order.lost_time_ns + round(absent_after_s * 10**9)
    return entry.clean_reads >= CLEAN_READS_NEEDED and entry.read_ns >= late_ns


def is_unreadable(entry: LostOrder, since_ns: int, now_ns: int) -> bool:
    """Whether the statement could not be read for too long; ``since_ns`` is from when on somebody was there to read."""
    if entry.clean_reads or entry.order.state is not State.UNKNOWN:
        return False
    return now_ns - max(entry.order.lost_time_ns, since_ns) >= UNREADABLE_AFTER_S * 10**9


def is_watched(order: Order, now_ns: int) -> bool:
    """Whether an order that was not found is still looked for; one in doubt always is."""
    return order.doubt is not Doubt.NONE or now_ns - order.lost_time_ns < (ABSENT_AFTER_S + WATCHED_FOR_S) * 10**9


def due(order: Order, step: int, now_ns: int) -> Read | None:
    """What is to be read now for a lost order that has had ``step`` steps of the plan; None if nothing is."""
    over = max(0, step - len(PLAN) + 1)
    after_s, read = PLAN[min(step, len(PLAN) - 1)]
    return read if now_ns - order.lost_time_ns >= (after_s + over * SLOW_S) * 10**9 else None


def steps_served(order: Order, step: int, read: Read, read_ns: int) -> int:
    """The step after those that a read begun at ``read_ns`` has served. A statement serves for a portfolio too."""
    while (wanted := due(order, step, read_ns)) is not None and (wanted is read or read is Read.STATEMENT):
        step += 1
    return step


def end_s(order: Order) -> int | None:
    """When the contract must have ended; None if it need never."""
    category = find(order.terms.contract_type)
    return None if category is None else category.end_s(contract_terms(order.terms), order.purchase_epoch_s)


def ending_of(order: Order, sell_price: Decimal, sell_epoch_s: int) -> Ending:
    """How a contract ended that was sold for a price, in a second, where Deriv does not say so."""
    category = find(order.terms.contract_type)
    if category is None:
        return Ending.NONE
    record = Ended(order.purchase_epoch_s, order.payout, sell_epoch_s, sell_price)
    return ENDING_OF_STATUS[category.ended(contract_terms(order.terms), record)]

"""What each bot has done so far, counted from the transitions of its orders."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from derivfleet.gateway.core.orders.order import FINAL, Doubt, State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from derivfleet.gateway.core.orders.order import Order

__all__ = ["BotTally", "Past", "Tallies", "kind"]

BOUGHT, DOUBTFUL, LATE = "bought", "doubtful", "late"
TELL_EVERY_NS = 10 * 10**9
"""Refusals of one bot are spoken of this often: one that floods is refused thousands of times a second."""


@dataclass(slots=True)
class BotTally:
    """One bot's counts. ``ops`` are its calls to the gateway.

    ``denied`` are orders that the gateway wrote down and did not send, ``rejected`` those that Deriv refused,
    ``doubtful`` those that an operator must decide about, ``found_late`` those that were taken for not bought and had
    been. What turns out to name no contract is neither ``confirmed`` nor ``found_late`` any more.
    """

    ops: int = 0
    buys: int = 0
    confirmed: int = 0
    settled: int = 0
    wins: int = 0
    unknown: int = 0
    denied: int = 0
    unwritten: int = 0
    """Orders refused before they were written down, since the start: a restart forgets them."""
    rejected: int = 0
    doubtful: int = 0
    found_late: int = 0
    open: int = 0
    profit: Decimal = Decimal(0)
    last_seen_time_ns: int = 0
    refused: int = 0
    """Those of them that were not spoken of yet."""
    refused_told_ns: int = 0


@dataclass(frozen=True, slots=True)
class Past:
    """Orders of one bot that are of one :func:`kind`; how many of them won, and what they brought."""

    bot: str
    kind: str
    orders: int
    wins: int
    profit: Decimal


def kind(order: Order) -> str:
    """What an order counts as: its state, and marks behind it. The journal counts orders by it."""
    marks = ((BOUGHT, order.contract_id != 0), (DOUBTFUL, order.doubt is not Doubt.NONE), (LATE, order.found_late))
    return " ".join([order.state, *(mark for mark, has in marks if has)])


@dataclass(slots=True)
class Tallies:
    """All bots of one account."""

    bots: dict[str, BotTally] = field(default_factory=dict[str, BotTally])

    def of(self, bot: str) -> BotTally:
        return self.bots.setdefault(bot, BotTally())

    def called(self, bot: str, now_ns: int) -> None:
        """A bot made a call."""
        tally = self.of(bot)
        tally.ops += 1
        tally.last_seen_time_ns = now_ns

    def refused(self, bot: str, now_ns: int) -> int:
        """An order was refused before it was written down. Returns how many to speak of now; 0 if it is too soon."""
        tally = self.of(bot)
        tally.unwritten += 1
        tally.refused += 1
        if now_ns < tally.refused_told_ns + TELL_EVERY_NS:
            return 0
        count, tally.refused, tally.refused_told_ns = tally.refused, 0, now_ns
        return count

    def count(self, before: Order | None, order: Order) -> None:
        """An order moved on; ``before`` is None for a new one."""
        tally = self.of(order.bot)
        tally.doubtful += (order.doubt is not Doubt.NONE) - (before is not None and before.doubt is not Doubt.NONE)
        tally.found_late += order.found_late - (before is not None and before.found_late)
        if before is None or before.state is not order.state:
            self._count(tally, None if before is None else before.state, order)

    @staticmethod
    def _count(tally: BotTally, before: State | None, order: Order) -> None:
        was_open = before is not None and before not in FINAL
        tally.open += (order.state not in FINAL) - was_open
        if before is State.UNKNOWN:
            tally.unknown -= 1
        match order.state:
            case State.INTENDED:
                tally.buys += 1
            case State.DENIED:
                tally.denied += 1
            case State.REJECTED:
                tally.rejected += 1
            case State.UNKNOWN:
                tally.unknown += 1
                tally.confirmed -= before is State.CONFIRMED
            case State.CONFIRMED:
                tally.confirmed += 1
            case State.SETTLED:
                tally.settled += 1
                profit = order.profit or Decimal(0)
                tally.profit += profit
                tally.wins += profit > 0
            case _:
                return

    def replay(self, pasts: Iterable[Past]) -> None:
        """Count orders of an earlier run, as they stand now."""
        for past in pasts:
            name, *marks = past.kind.split()
            state, tally = State(name), self.of(past.bot)
            tally.buys += past.orders
            tally.confirmed += past.orders * (BOUGHT in marks)
            tally.open += past.orders * (state not in FINAL)
            tally.unknown += past.orders * (state is State.UNKNOWN)
            tally.denied += past.orders * (state is State.DENIED)
            tally.rejected += past.orders * (state is State.REJECTED)
            tally.doubtful += past.orders * (DOUBTFUL in marks)
            tally.found_late += past.orders * (LATE in marks)
            tally.settled += past.orders * (state is State.SETTLED)
            tally.wins += past.wins
            tally.profit += past.profit

"""What the account's own records have told of purchases: those that lost orders may have been, and those of others.

The transaction stream comes over another socket than the orders do, so it tells of a purchase whose answer was lost
with its socket. What nobody of ours has bought is kept too: whoever trades on the account beside the fleet makes every
match of what they both buy a guess.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from derivfleet.gateway.core.reconcile.foreign_trades import COUNTS_S, ForeignTrade
from derivfleet.gateway.core.reconcile.lost_orders import Purchase, fits, looks_like
from derivfleet.gateway.journal.store import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from decimal import Decimal

    from derivfleet.gateway.core.orders.order import Order

__all__ = ["Evidence", "Row", "Sighting"]

_log = structlog.get_logger()

FOREIGN_AFTER_NS = 5 * 10**9
"""A purchase of ours has an order that waits for its answer, or lost it; nobody else's has so long after it."""
KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Sighting:
    """A purchase as the stream tells of it: without saying what was bought."""

    contract_id: int
    symbol: str | None
    price: Decimal
    epoch_s: int
    seen_ns: int
    is_looked_at: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A purchase as a list tells of it. ``purchase`` is None if it is of a kind that the fleet does not buy."""

    contract_id: int
    price: Decimal
    epoch_s: int
    app_id: int | None
    purchase: Purchase | None


class Evidence:
    """One account's purchases that are not tied to an order."""

    def __init__(
        self,
        account: str,
        claimed: Callable[[Iterable[int]], Collection[int]],
        write_down: Callable[[ForeignTrade], None],
    ) -> None:
        """``claimed`` tells which of some contracts belong to orders; ``write_down`` keeps a foreign trade for whoever
        starts anew, and raises JournalError if that cannot be.
        """
        self.purchases: dict[int, Purchase] = {}
        """Those that fit an order without an answer, or were looked at because they seemed to."""
        self.foreign: OrderedDict[int, ForeignTrade] = OrderedDict()
        self.foreign_count = 0
        self.own_app_id: int | None = None
        """The gateway's, where records tell whose purchase a row is; None where they do not."""
        self._account = account
        self._claimed = claimed
        self._write_down = write_down
        self._sightings: OrderedDict[int, Sighting] = OrderedDict()
        self.unwritten: deque[ForeignTrade] = deque(maxlen=KEPT)
        """Foreign trades that wait for the journal."""

    def recall(self, trades: Sequence[ForeignTrade]) -> None:
        """Take up the foreign trades that an earlier gateway wrote down, oldest first."""
        claimed = self._claimed(trade.contract_id for trade in trades)
        for trade in trades:
            if trade.contract_id not in claimed:
                self._keep(trade)

    def see(self, sighting: Sighting) -> None:
        """The stream told of a purchase that has no order yet."""
        self._sightings[sighting.contract_id] = sighting
        if len(self._sightings) > KEPT:
            self._sightings.popitem(last=False)

    def tied(self, contract_id: int) -> None:
        """A contract has found its order."""
        self._sightings.pop(contract_id, None)
        self.purchases.pop(contract_id, None)
        if self.foreign.pop(contract_id, None) is not None:
            self.foreign_count -= 1

    def look(
        self, lost: Sequence[Order], in_flight: Sequence[Order], now_ns: int, slack_s: float, most: int
    ) -> list[Sighting]:
        """The sightings that may be lost orders and should be looked at, each of them once and ``most`` at a time.

        What is nobody's is foreign from now on.
        """
        self._write()
        for contract_id in self._claimed([*self._sightings, *self.purchases]):
            self.tied(contract_id)
        for purchase in list(self.purchases.values()):
            may_be = any(fits(order, purchase, now_ns, slack_s) for order in (*lost, *in_flight))
            if not may_be and now_ns - purchase.epoch_s * 10**9 >= FOREIGN_AFTER_NS:
                self.is_foreign(ForeignTrade(purchase.contract_id, purchase.symbol, purchase.price, purchase.epoch_s))
        found: list[Sighting] = []
        for one in list(self._sightings.values()):

            def like(order: Order, one: Sighting = one) -> bool:
                return looks_like(order, one.symbol, one.price, one.epoch_s, now_ns, slack_s)

            if any(map(like, in_flight)):
                continue
            if any(like(order) and not self._foreign_near(order) for order in lost):
                if len(found) < most and not one.is_looked_at:
                    self._sightings[one.contract_id] = replace(one, is_looked_at=True)
                    found.append(one)
            elif not any(map(like, lost)) and now_ns - one.seen_ns >= FOREIGN_AFTER_NS:
                self.is_foreign(ForeignTrade(one.contract_id, one.symbol or "", one.price, one.epoch_s))
        return found

    def seen_closely(self, purchase: Purchase) -> None:
        """What a sighting was about."""
        self._sightings.pop(purchase.contract_id, None)
        self.purchases[purchase.contract_id] = purchase

    def take(
        self, rows: Sequence[Row], lost: Sequence[Order], in_flight: Sequence[Order], now_ns: int, slack_s: float
    ) -> None:
        """Keep what may be lost orders out of a list of the account's purchases, and note what is nobody's."""
        claimed = self._claimed([row.contract_id for row in rows])
        for row in rows:
            if row.contract_id in claimed or row.contract_id in self.foreign:
                continue  # what was nobody's when it appeared is not an order's that was sent later
            purchase = row.purchase
            symbol = purchase.symbol if purchase is not None else ""
            trade = ForeignTrade(row.contract_id, symbol, row.price, row.epoch_s)
            if self.own_app_id is not None and row.app_id not in (None, self.own_app_id):
                self.is_foreign(trade)
            elif purchase is not None and any(fits(order, purchase, now_ns, slack_s) for order in lost):
                self.seen_closely(purchase)
            elif purchase is not None and any(fits(order, purchase, now_ns, slack_s) for order in in_flight):
                continue
            elif now_ns - row.epoch_s * 10**9 >= FOREIGN_AFTER_NS:
                self.is_foreign(trade)

    def unclaimed(self, lost: Sequence[Order], now_ns: int, slack_s: float) -> list[Purchase]:
        """The purchases that may be these orders."""
        for contract_id in self._claimed(self.purchases):
            self.tied(contract_id)
        return [
            purchase
            for purchase in self.purchases.values()
            if any(fits(order, purchase, now_ns, slack_s) for order in lost)
        ]

    def is_foreign(self, trade: ForeignTrade) -> None:
        """Nobody of ours has bought this."""
        seen = self._sightings.pop(trade.contract_id, None)
        if seen is not None:  # news of a sale do not tell what was bought
            trade = ForeignTrade(seen.contract_id, seen.symbol or "", seen.price, seen.epoch_s)
        self.purchases.pop(trade.contract_id, None)
        if trade.contract_id in self.foreign:
            return
        self._keep(trade)
        self.unwritten.append(trade)
        self._write()
        _log.warning(
            "a trade on the account is not the fleet's",
            account=self._account,
            contract_id=trade.contract_id,
            symbol=trade.symbol or None,
            price=None if trade.price is None else str(trade.price),
        )

    def _keep(self, trade: ForeignTrade) -> None:
        self.foreign[trade.contract_id] = trade
        self.foreign_count += 1
        if len(self.foreign) > KEPT:
            self.foreign.popitem(last=False)

    def _write(self) -> None:
        with suppress(JournalError):  # it has been logged, and is tried again
            while self.unwritten:
                self._write_down(self.unwritten[0])
                self.unwritten.popleft()

    def newest_foreign(self, count: int) -> list[ForeignTrade]:
        """The last of the trades that are not the fleet's, newest last."""
        return list(self.foreign.values())[-count:]

    def is_foreign_like(self, order: Order) -> bool:
        """Whether somebody else has bought what looks like this order, and the records do not tell whose a row is."""
        return self.own_app_id is None and self._foreign_near(order)

    def _foreign_near(self, order: Order) -> bool:
        return any(
            trade.price == order.terms.stake
            and trade.symbol in ("", order.terms.symbol)
            and abs(trade.epoch_s - order.sent_time_ns // 10**9) <= COUNTS_S
            for trade in self.foreign.values()
        )

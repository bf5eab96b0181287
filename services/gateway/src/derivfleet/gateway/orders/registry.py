"""The orders of one account: where each stands, and the only place where one moves on.

Purchases, exits, settlements and the reconciler stand on it and do not know each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from derivfleet.gateway.core.orders.operations import Lost
from derivfleet.gateway.core.orders.order import FINAL, Order, State
from derivfleet.gateway.core.orders.transitions import Confirmed, Event, Settled, advance
from derivfleet.gateway.core.reconcile.lost_orders import ending_of, is_watched
from derivfleet.gateway.orders import mapping

if TYPE_CHECKING:
    from collections.abc import Iterable

    from derivfleet.common.clock import Clock
    from derivfleet.deriv.answers import ContractState
    from derivfleet.gateway.journal.journal import Journal

__all__ = ["Listener", "OrderRegistry"]

_log = structlog.get_logger()

MOST_WATCHED = 1_000
"""Orders not found in the last ten minutes that a start takes up to watch."""

Listener = Callable[[Order | None, Order], Event | None]
"""Told of each transition: the order before (None for a new one) and after. It may name an event that follows."""


class OrderRegistry:
    """The orders of one account by state. Each transition is decided, written to the journal, and then told."""

    def __init__(self, account: str, journal: Journal, clock: Clock, listeners: Iterable[Listener] = ()) -> None:
        self.account = account
        self.journal = journal
        self.listeners = [*listeners]
        self.open: dict[str, Order] = {}
        """All that are not over."""
        self.unknown: dict[str, Order] = {}
        """The open orders of which nobody knows whether they were bought."""
        self.watched: dict[str, Order] = {}
        """Orders that were not found, while a late record may still show them."""
        self._by_contract: dict[int, str] = {}
        self._clock = clock

    def load(self) -> list[Order]:
        """Read what an earlier run left open, and return it: nobody carries that on."""
        now_ns = self._clock.now_ns()
        for order in self.journal.open_orders(self.account):
            # One written down by a gateway that did not yet note the time of the loss has none.
            is_unknown = order.state is State.UNKNOWN
            self._place(replace(order, lost_time_ns=order.lost_time_ns or now_ns) if is_unknown else order)
        missing, _ = self.journal.page(self.account, "", State.NOT_FOUND, 0, MOST_WATCHED)
        self.watched = {order.order_id: order for order in missing if is_watched(order, now_ns)}
        return list(self.open.values())

    def find(self, order_id: str) -> Order | None:
        """An order of this account, whatever became of it. Raises JournalError if it cannot be looked for."""
        return self.open.get(order_id) or self.journal.order(self.account, order_id)

    def of_contract(self, contract_id: int) -> Order | None:
        """The open order that a contract belongs to."""
        return self.open.get(self._by_contract.get(contract_id, ""))

    def in_flight(self) -> list[Order]:
        """The orders whose receipt may still come."""
        return [order for order in self.open.values() if order.state is State.SENT]

    def claimed(self, contract_ids: Iterable[int]) -> set[int]:
        """Which of these contracts belong to orders."""
        return self.journal.claimed(self.account, contract_ids)

    def add(self, order: Order) -> None:
        """Take a new order in. Raises JournalError if it cannot be written down; there is no such order then."""
        self._write(None, order)

    def move(self, order: Order, event: Event) -> Order:
        """Something happened to an order; returns what it is now.

        Raises TransitionError if the event does not fit, and JournalError if it opens a position and cannot be written.
        """
        moved = advance(order, event, self._clock.now_ns())
        if moved == order:  # several of Deriv's words say the same
            return order
        follows = self._write(order, moved)
        return moved if follows is None else self.move(moved, follows)

    def confirm(self, order: Order, receipt: Confirmed) -> Order:
        """An order was bought: by Deriv's receipt, or by a record that stands for it."""
        if self.claimed([receipt.contract_id]):
            # It was lost together with an order like it, and that one got its contract. The other one's will be found.
            _log.warning("contract belongs to another order", order_id=order.order_id, contract_id=receipt.contract_id)
            message = "its contract was taken for that of an order like it; the account's records will tell"
            return self.move(order, Lost("CONTRACT_TAKEN", message)) if order.state is State.SENT else order
        return self.move(order, receipt)

    def settle(self, contract_id: int, event: Settled) -> bool:
        """A contract has ended; whether it is an open order's."""
        order = self.of_contract(contract_id)
        if order is None:
            return False
        self.move(order, with_ending(order, event))
        return True

    def on_contract(self, contract_id: int, contract: ContractState) -> None:
        """What a contract looks like at Deriv: the end of it settles its order."""
        event = mapping.settled(contract)
        if event is not None:
            self.settle(contract_id, event)

    def _write(self, before: Order | None, order: Order) -> Event | None:
        self.journal.write(order, self._clock.now_ns())
        if before is not None and before.contract_id != order.contract_id:
            self._by_contract.pop(before.contract_id, None)
        self._place(order)
        follows = None
        for listener in self.listeners:
            follows = listener(before, order) or follows
        return follows

    def _place(self, order: Order) -> None:
        for state, orders in ((State.UNKNOWN, self.unknown), (State.NOT_FOUND, self.watched)):
            if order.state is state:
                orders[order.order_id] = order
            else:
                orders.pop(order.order_id, None)
        if order.state in FINAL:
            self.open.pop(order.order_id, None)
            self._by_contract.pop(order.contract_id, None)
        else:
            self.open[order.order_id] = order
            if order.contract_id:
                self._by_contract[order.contract_id] = order.order_id


def with_ending(order: Order, event: Settled) -> Settled:
    """A settlement that says how the contract ended, where the news did not, by price and time."""
    return replace(event, ending=event.ending or ending_of(order, event.sell_price, event.sell_epoch_s))

"""Everything about the orders of one account, put together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.orders.clock_skew import KEPT, Skew
from derivfleet.gateway.core.orders.order import Order, State
from derivfleet.gateway.core.orders.tally import Tallies
from derivfleet.gateway.orders.checks import Checks, Closing, DoubtCheck, LeaseCheck, Queue
from derivfleet.gateway.orders.circuit_breaker import CircuitBreaker
from derivfleet.gateway.orders.exits import Exits
from derivfleet.gateway.orders.operations import Operations
from derivfleet.gateway.orders.order_log import log_order
from derivfleet.gateway.orders.purchases import Purchases
from derivfleet.gateway.orders.registry import OrderRegistry
from derivfleet.gateway.orders.settlements import Settlements
from derivfleet.gateway.reconciling import resolutions
from derivfleet.gateway.reconciling.evidence import Evidence
from derivfleet.gateway.reconciling.reconciler import Reconciler

if TYPE_CHECKING:
    from derivfleet.common.telemetry import Telemetry
    from derivfleet.gateway.journal.journal import Journal
    from derivfleet.gateway.upstream.client import AccountClient

__all__ = ["AccountOrders"]

RECALLED_NS = 120 * 10**9
"""Purchases so young count in their bot's cap after a restart, as if just answered."""


class AccountOrders:
    """The rooms of one account's orders. ``recover`` before the first call."""

    def __init__(self, client: AccountClient, journal: Journal, telemetry: Telemetry, currency: str) -> None:
        account, clock, codec = client.account, client.clock, client.pool.login.codec
        self.client = client
        self.tallies = Tallies()
        self.skew = Skew()
        self.registry = OrderRegistry(account, journal, clock, [self.tallies.count, log_order, self._learn])
        self.evidence = Evidence(account, self.registry.claimed, partial(journal.write_foreign, account))
        self.circuit_breaker = CircuitBreaker(account, clock)
        self._closing = Closing()
        checks = Checks(
            [
                self._closing,
                LeaseCheck(),
                DoubtCheck(self.registry),
                Queue(client, self.tallies),
                self.circuit_breaker,
            ]
        )
        self.operations = Operations(client, self.registry, checks, self.skew)
        self.purchases = Purchases(self.registry, checks, self.operations, clock, codec, currency)
        self.exits = Exits(self.registry, checks, self.operations, clock, codec)
        self.settlements = Settlements(self.registry, self.evidence, clock, codec, telemetry)

    def _learn(self, before: Order | None, order: Order) -> None:
        if order.state is State.CONFIRMED and (before is None or before.state is not State.CONFIRMED):
            self.skew.see(order)
            self.evidence.tied(order.contract_id)

    def recover(self) -> None:
        """Take up the orders of an earlier run: what was being sent is unknown now, what was not sent never will be."""
        account, journal, now_ns = self.registry.account, self.registry.journal, self.client.clock.now_ns()
        self.tallies.replay(journal.tallies(account))
        for order in reversed(journal.page(account, "", "", 0, KEPT)[0]):
            self.skew.see(order)
        self.evidence.recall(journal.foreign(account))
        for bot in journal.sent_since(account, now_ns - RECALLED_NS):
            self.client.quota.recall(bot, Call.BUY, now_ns)
        for order in self.registry.load():
            self.operations.take_up(order, "the gateway ended")

    def reconciler(self) -> Reconciler:
        """Begin to compare the orders with the account's own records."""
        return Reconciler(self.client, self.registry, self.evidence, self.skew, self.operations.take_up_stranded)

    async def resolve(self, order: Order, contract_id: int, by: str) -> Order:
        """Take an operator's word for what became of an order; raises as :func:`resolutions.resolve`."""
        return await resolutions.resolve(self.client, self.registry, order, contract_id, by)

    async def drain(self, timeout_s: float) -> None:
        """Take no new orders, and wait a while (fleet time) for those under way; what waits for a turn is denied."""
        self._closing.is_closing = True
        await self.operations.drain(timeout_s)

    async def close(self) -> None:
        """See the last calls end, when the sockets are closed."""
        await self.operations.close()

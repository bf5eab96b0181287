"""Finds out what became of orders whose answer was lost, by what the account's records show."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import structlog

from derivfleet.connection.connection import CallRefusedError
from derivfleet.deriv import requests
from derivfleet.deriv.errors import MalformedAnswer
from derivfleet.gateway.core.orders.order import Doubt, Order
from derivfleet.gateway.core.orders.transitions import Confirmed, Doubted, NotFound
from derivfleet.gateway.core.quota import GATEWAY
from derivfleet.gateway.core.reconcile.lost_orders import (
    ABSENT_AFTER_S,
    CLOCK_SLACK_S,
    LostOrder,
    Read,
    Verdict,
    due,
    is_unreadable,
    is_watched,
    judge,
    span_s,
    steps_served,
)
from derivfleet.gateway.reconciling import records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from derivfleet.gateway.core.orders.clock_skew import Skew
    from derivfleet.gateway.orders.registry import OrderRegistry
    from derivfleet.gateway.reconciling.evidence import Evidence
    from derivfleet.gateway.upstream.client import AccountClient

__all__ = ["LostOrders"]

_log = structlog.get_logger()

LOOKS_A_TURN = 3
"""Sightings looked at one by one; if more are lost at once, a list that serves all of them is read a second later."""
SPAN_S = 1200
"""Orders lost so near to each other are served by one statement."""
LEAST_SLACK_WALL_S = 1.0
LEAST_ABSENCE_WALL_S = 2.0
"""Networks and processors do not run faster when the clock does."""


class LostOrders:
    """One account's orders without an answer, and what the records have told of them."""

    def __init__(self, client: AccountClient, registry: OrderRegistry, evidence: Evidence, skew: Skew) -> None:
        self._client = client
        self._registry = registry
        self._evidence = evidence
        self._skew = skew
        self._clock = client.clock
        self._codec = client.pool.login.codec
        self._since_ns = self._clock.now_ns()
        self._lost: dict[str, LostOrder] = {}
        self._steps: dict[str, int] = {}
        self._slack_s = max(CLOCK_SLACK_S, self._clock.fleet_s(LEAST_SLACK_WALL_S))
        self._absent_after_s = max(ABSENT_AFTER_S, self._clock.fleet_s(LEAST_ABSENCE_WALL_S))

    def _take_stock(self) -> None:
        """Which orders have no answer now; what was not found is one of them for a while."""
        now_ns = self._clock.now_ns()
        for order_id in [one.order_id for one in self._registry.watched.values() if not is_watched(one, now_ns)]:
            del self._registry.watched[order_id]
        orders = {
            order_id: order
            for order_id, order in {**self._registry.watched, **self._registry.unknown}.items()
            if order.doubt is not Doubt.NO_CONTRACT  # it has a receipt: that no record shows it proves nothing
        }
        before = self._lost
        self._lost = {
            order_id: LostOrder(order) if (entry := before.get(order_id)) is None else _now(entry, order)
            for order_id, order in orders.items()
        }
        for order_id in [order_id for order_id in self._steps if order_id not in orders]:
            del self._steps[order_id]

    def _orders(self) -> list[Order]:
        """As of now: what has lost its answer since the last look is in flight no more."""
        self._take_stock()
        return [entry.order for entry in self._lost.values()]

    async def notice_foreign(self) -> None:
        """Take what nobody of ours has bought for foreign."""
        now_ns = self._clock.now_ns()
        self._evidence.look(self._orders(), self._registry.in_flight(), now_ns, self._slack_s, 0)

    async def look_at_sightings(self) -> None:
        """What the stream told of, it did not describe: the contract itself does."""
        now_ns = self._clock.now_ns()
        in_flight = self._registry.in_flight()
        for sighting in self._evidence.look(self._orders(), in_flight, now_ns, self._slack_s, LOOKS_A_TURN):
            try:
                contract = await records.contract(self._client, self._codec, sighting.contract_id)
            except (CallRefusedError, MalformedAnswer) as error:
                # The lists will tell.
                _log.warning("a purchase could not be looked at", contract_id=sighting.contract_id, problem=str(error))
                continue
            purchase = None if contract is None else records.of_contract(contract)
            if purchase is not None:
                self._evidence.seen_closely(purchase)

    async def read_lists(self) -> None:
        """Read the portfolio and the statement, where one is due."""
        now_ns = self._clock.now_ns()
        self._take_stock()
        wanted = [
            (entry.order, read)
            for order_id, entry in self._lost.items()
            if (read := due(entry.order, self._steps.get(order_id, 0), now_ns)) is not None
        ]
        if any(read is Read.PORTFOLIO for _, read in wanted):
            try:
                frame = await self._client.call(GATEWAY, requests.Portfolio(portfolio=1))
                self._take(records.of_portfolio(self._codec, frame))
            except (CallRefusedError, MalformedAnswer) as error:
                _log.warning("the portfolio could not be read, the statement will tell", problem=str(error))
            self._serve([*self._lost], Read.PORTFOLIO, now_ns)
        firsts = [order.sent_time_ns for order, read in wanted if read is Read.STATEMENT]
        if firsts:
            await self._read_statement(min(firsts), now_ns)

    async def _read_statement(self, first_ns: int, now_ns: int) -> None:
        """One statement for all orders that were lost and sent from ``first_ns`` on, or soon after."""
        near = [one for one in self._orders() if 0 <= one.sent_time_ns - first_ns <= SPAN_S * 10**9]
        if not near:
            return
        spans = [span_s(one, now_ns, self._slack_s) for one in near]
        since_s, until_s = min(first for first, _ in spans), math.ceil(max(last for _, last in spans))
        rows, complete = await records.statement(self._client, self._codec, "buy", since_s, until_s)
        self._take([row for one in rows if (row := records.of_statement(one)) is not None])
        # Some have been decided while it was read.
        names = [order.order_id for order in near if order.order_id in self._lost]
        self._serve(names, Read.STATEMENT, now_ns)
        if complete:
            for name in names:
                entry = self._lost[name]
                self._lost[name] = LostOrder(entry.order, entry.clean_reads + 1, now_ns)

    def _take(self, rows: Sequence[records.Row]) -> None:
        self._evidence.take(rows, self._orders(), self._registry.in_flight(), self._clock.now_ns(), self._slack_s)

    def _serve(self, order_ids: Sequence[str], read: Read, read_ns: int) -> None:
        for order_id in order_ids:
            step = self._steps.get(order_id, 0)
            self._steps[order_id] = steps_served(self._lost[order_id].order, step, read, read_ns)

    async def conclude(self) -> None:
        """Judge by all that is known now: the reads took time, and some orders were answered meanwhile."""
        self._take_stock()
        if not self._lost:
            return
        now_ns = self._clock.now_ns()
        purchases = self._evidence.unclaimed(self._orders(), now_ns, self._slack_s)
        verdicts = judge(
            list(self._lost.values()),
            self._registry.in_flight(),
            purchases,
            now_ns,
            self._slack_s,
            self._absent_after_s,
            self._evidence.is_foreign_like,
            self._skew.ahead_ns,
        )
        judged = {order.order_id for order, _ in verdicts}
        for entry in self._lost.values():
            if (
                entry.order.order_id not in judged
                and entry.order.doubt is Doubt.NONE
                and is_unreadable(entry, self._since_ns, now_ns)
            ):
                verdicts.append((entry.order, Doubted(Doubt.UNREADABLE)))
        # After a crash in between, the last of a group would look as if there had been no choice.
        with self._registry.journal.together():
            for order, verdict in verdicts:
                self._apply(order, verdict)

    def _apply(self, order: Order, verdict: Verdict) -> None:
        match verdict:
            case Confirmed(contract_id=contract_id, attribution=attribution):
                _log.info(
                    "lost order found in the records",
                    order_id=order.order_id,
                    contract_id=contract_id,
                    attribution=attribution,
                )
                self._registry.confirm(order, verdict)
            case NotFound():
                _log.info("lost order is in no record", order_id=order.order_id)
                self._registry.move(order, verdict)
            case Doubted(doubt, candidates):
                if (doubt, candidates) != (order.doubt, order.candidates):
                    self._registry.move(order, verdict)


def _now(entry: LostOrder, order: Order) -> LostOrder:
    return entry if entry.order is order else LostOrder(order, entry.clean_reads, entry.read_ns)

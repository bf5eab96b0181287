"""Looks for the end of contracts that should have ended without anybody having said so."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.backoff import backoff_s
from derivfleet.connection.connection import CallRefusedError
from derivfleet.deriv import requests
from derivfleet.deriv.errors import MalformedAnswer
from derivfleet.gateway.core.orders.exit import DECIDED, ExitState, is_late_enough
from derivfleet.gateway.core.orders.order import Order, State
from derivfleet.gateway.core.orders.transitions import Disproved, Settled
from derivfleet.gateway.core.quota import GATEWAY
from derivfleet.gateway.core.reconcile.lost_orders import (
    ABSENT_AFTER_S,
    CLOCK_SLACK_S,
    candidate_of,
    end_s,
    ending_of,
    fits,
    span_s,
)
from derivfleet.gateway.reconciling import records
from derivfleet.gateway.reconciling.lost_orders import LEAST_ABSENCE_WALL_S, LEAST_SLACK_WALL_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from derivfleet.gateway.orders.registry import OrderRegistry
    from derivfleet.gateway.upstream.client import AccountClient

__all__ = ["OverdueContracts"]

_log = structlog.get_logger()

OVERDUE_AFTER_S = 5.0
"""A contract's end is booked in the second of its exit tick; this much later its news must have been missed."""
LAST_RESORT_CHECKS = 3
"""Looks at one contract that fail before the statement's sales are read instead."""
LAST_RESORT_EVERY_S = 10.0
"""It reads up to three lists, whose limits are those of lost orders, too: once in so long for all together."""
NO_SUCH_CONTRACT = "ContractNotFound"


class OverdueContracts:
    """One account's contracts that are late, and what was tried to see their end."""

    def __init__(self, client: AccountClient, registry: OrderRegistry) -> None:
        self._client = client
        self._registry = registry
        self._clock = client.clock
        self._codec = client.pool.login.codec
        self._checks: dict[str, tuple[int, int]] = {}
        self._hopeless: dict[str, None] = {}
        """Orders whose contracts could not be read, in the order of that, until the last resort is next tried."""
        self._last_resort_due_ns = 0
        self._denied: Counter[str] = Counter()
        """Looks at the contracts of confirmed orders that Deriv has answered with that it knows of none."""
        self._missing_ns: dict[str, int] = {}
        """Since when no record knows the contract of a confirmed order."""
        self._slack_s = max(CLOCK_SLACK_S, self._clock.fleet_s(LEAST_SLACK_WALL_S))
        self._absent_after_s = max(ABSENT_AFTER_S, self._clock.fleet_s(LEAST_ABSENCE_WALL_S))

    async def look(self) -> None:
        """Look at each contract that is overdue; where Deriv shows none, at what the account was paid."""
        now_ns = self._clock.now_ns()
        for order in list(self._registry.open.values()):
            ends_s = end_s(order)
            if order.state is not State.CONFIRMED or ends_s is None:
                continue
            # The receipt may be wrong about the time, too.
            late_s = max(0, order.purchase_epoch_s - order.answered_time_ns // 10**9 - CLOCK_SLACK_S)
            over_ns = (ends_s - late_s) * 10**9 + round(OVERDUE_AFTER_S * 1e9)
            checks, due_ns = self._checks.get(order.order_id, (0, over_ns))
            if now_ns < due_ns:
                continue
            again_ns = now_ns + round(backoff_s(checks, order.order_id, 2.0) * 1e9)
            self._checks[order.order_id] = (checks + 1, again_ns)
            contract, is_denied = None, False
            try:
                contract = await records.contract(self._client, self._codec, order.contract_id)
                is_denied = contract is None
            except (CallRefusedError, MalformedAnswer) as error:
                # One contract that cannot be read is no reason to leave the next one alone.
                _log.warning("an ended contract could not be read", order_id=order.order_id, problem=str(error))
                is_denied = isinstance(error, CallRefusedError) and error.code == NO_SUCH_CONTRACT
            self._denied[order.order_id] += is_denied
            if contract is not None:
                self._registry.on_contract(order.contract_id, contract)
            elif checks + 1 >= LAST_RESORT_CHECKS:
                self._hopeless[order.order_id] = None
        for known in (self._checks, self._denied, self._hopeless, self._missing_ns):
            for order_id in known.keys() - self._registry.open.keys():
                del known[order_id]
        now_ns = self._clock.now_ns()
        if self._hopeless and now_ns >= self._last_resort_due_ns:
            self._last_resort_due_ns = now_ns + round(LAST_RESORT_EVERY_S * 1e9)
            hopeless = [self._registry.open[order_id] for order_id in self._hopeless]
            self._hopeless.clear()
            await self._settle_by_statement(hopeless)

    async def _settle_by_statement(self, orders: Sequence[Order]) -> None:
        """The last resort for contracts that Deriv will not show: what the account was paid for them."""
        since_s = min(span_s(order, order.answered_time_ns)[0] for order in orders)
        rows, _ = await records.statement(self._client, self._codec, "sell", since_s, math.ceil(self._clock.now_s()))
        by_contract = {order.contract_id: order for order in orders}
        for row in rows:
            order = by_contract.get(row.contract_id or 0)
            if order is not None:
                ending = ending_of(order, row.amount, row.transaction_time_s)
                self._registry.settle(
                    order.contract_id, Settled(row.amount, row.transaction_time_s, ending, row.transaction_id)
                )
        now_ns, absent_ns = self._clock.now_ns(), round(self._absent_after_s * 1e9)
        missing = [
            order
            for order in (self._registry.open.get(order.order_id) for order in orders)
            if order is not None
            and _is_at_rest(order, now_ns)
            and self._denied[order.order_id] >= LAST_RESORT_CHECKS
            and now_ns - self._missing_ns.get(order.order_id, -absent_ns) >= absent_ns
        ]
        if missing:
            await self._look_for_purchases(missing, now_ns)

    async def _look_for_purchases(self, orders: Sequence[Order], now_ns: int) -> None:
        """Whether contracts that Deriv will not show were bought at all: a receipt may name a wrong one."""
        spans = [span_s(order, order.answered_time_ns) for order in orders]
        since_s, until_s = min(first for first, _ in spans), math.ceil(max(last for _, last in spans))
        listed, is_whole = await records.statement(self._client, self._codec, "buy", since_s, until_s)
        rows = [row for one in listed if (row := records.of_statement(one)) is not None]
        rows += records.of_portfolio(self._codec, await self._client.call(GATEWAY, requests.Portfolio(portfolio=1)))
        shown = {row.contract_id for row in rows}
        claimed = self._registry.claimed(shown)
        purchases = [row.purchase for row in rows if row.purchase is not None and row.contract_id not in claimed]
        for order in (self._registry.open.get(order.order_id) for order in orders):
            if order is None or not _is_at_rest(
                order, now_ns
            ):  # the reads took time, and an exit may have been asked for
                continue
            if order.contract_id in shown or not is_whole:
                self._missing_ns.pop(order.order_id, None)
            elif self._missing_ns.setdefault(order.order_id, now_ns) < now_ns:
                like = {one.contract_id: one for one in purchases if fits(order, one, now_ns, self._slack_s)}
                self._registry.move(order, Disproved(tuple(map(candidate_of, like.values()))))
                # If a person names another contract, that one is looked for from the beginning.
                del self._checks[order.order_id], self._denied[order.order_id], self._missing_ns[order.order_id]


def _is_at_rest(order: Order, read_ns: int) -> bool:
    """Whether its contract is open, and nothing that was done to it can have its effect after a read begun then."""
    return order.state is State.CONFIRMED and all(
        one.state in DECIDED or (one.state is ExitState.UNKNOWN and is_late_enough(one, read_ns)) for one in order.exits
    )

"""Compares what the desk believes with the account's own records, beside the trading and never in its way.

Three things need it: orders whose answer was lost, exits whose answer was lost, and contracts that should have ended
without anybody having said so.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.backoff import backoff_s
from derivfleet.connection.connection import AnswerLostError, CallRefusedError
from derivfleet.deriv import requests
from derivfleet.deriv.errors import MalformedAnswer
from derivfleet.gateway.core.orders.exit import DECIDED, ExitState, is_late_enough
from derivfleet.gateway.core.orders.order import Doubt, Order, State
from derivfleet.gateway.core.orders.transitions import Confirmed, Doubted, NotFound, Settled
from derivfleet.gateway.core.reconcile.lost_orders import (
    ABSENT_AFTER_S,
    CLOCK_SLACK_S,
    LostOrder,
    Read,
    Verdict,
    candidate_of,
    due,
    end_s,
    ending_of,
    fits,
    is_unreadable,
    is_watched,
    judge,
    span_s,
    steps_served,
)
from derivfleet.gateway.core.schedule import GATEWAY
from derivfleet.gateway.journal.store import JournalError
from derivfleet.gateway.reconciling import records as lists
from derivfleet.gateway.upstream.client import TurnRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from derivfleet.deriv.answers import ContractState
    from derivfleet.gateway.orders.purchases import Desk

__all__ = ["Reconciler"]

_log = structlog.get_logger()

UNREADABLE = (CallRefusedError, AnswerLostError, TurnRefusedError, MalformedAnswer, JournalError)
TURN_S = 0.5
"""How often it is looked whether something is due."""
OVERDUE_AFTER_S = 5.0
"""A contract's end is booked in the second of its exit tick; this much later its news must have been missed."""
LAST_RESORT_CHECKS = 3
"""Looks at one contract that fail before the statement's sales are read instead."""
LAST_RESORT_EVERY_S = 10.0
"""It reads up to three lists, whose limits are those of lost orders, too: once in so long for all together."""
NO_SUCH_CONTRACT = "ContractNotFound"
LOOKS_A_TURN = 3
"""Sightings looked at one by one; if more are lost at once, a list that serves all of them is read a second later."""
SPAN_S = 1200
"""Orders lost so near to each other are served by one statement."""
LEAST_SLACK_WALL_S = 1.0
LEAST_ABSENCE_WALL_S = 2.0
"""Networks and processors do not run faster when the clock does."""


class Reconciler:
    """One account's comparison with its records."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._client = desk.client
        self._clock = desk.client.clock
        self._codec = desk.client.pool.login.codec
        self._evidence = desk.evidence
        self._since_ns = self._clock.now_ns()
        self._lost: dict[str, LostOrder] = {}
        self._steps: dict[str, int] = {}
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
        rounds = (
            (self._take_up_stranded, self._notice_foreign, self._conclude),  # these wait for nothing
            (self._look_at_sightings, self._conclude),
            (self._read_lists, self._conclude),
            (self._check_exits,),
            (self._check_overdue,),
        )
        # Each by itself: what keeps one from being done, as a bucket that rests, must not keep the others.
        self._tasks = [
            asyncio.create_task(self._run(*steps), name=f"reconcile {self._client.account}: {steps[0].__name__}")
            for steps in rounds
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, *steps: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._clock.sleep(TURN_S)
            done = [await self._tried(step) for step in steps]
            if not all(done):
                await self._clock.sleep(backoff_s(1, self._client.account))

    async def _tried(self, step: Callable[[], Awaitable[None]]) -> bool:
        try:
            await step()
        except UNREADABLE as error:
            _log.warning("the account's records could not be read, trying again", problem=str(error))
            return False
        except Exception:  # noqa: BLE001 - without this task nobody finds lost orders and missed settlements
            _log.exception("reconciling failed in an unforeseen way, trying again", account=self._client.account)
            return False
        return True

    async def _take_up_stranded(self) -> None:
        self._desk.take_up_stranded()

    # Lost orders

    def _take_stock(self) -> None:
        """Which orders have no answer now; what was not found is one of them for a while."""
        now_ns = self._clock.now_ns()
        for order_id in [one.order_id for one in self._desk.watched.values() if not is_watched(one, now_ns)]:
            del self._desk.watched[order_id]
        orders = {
            order_id: order
            for order_id, order in {**self._desk.watched, **self._desk.unknown}.items()
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

    async def _notice_foreign(self) -> None:
        now_ns = self._clock.now_ns()
        self._evidence.look(self._orders(), self._desk.in_flight(), now_ns, self._slack_s, 0)

    async def _look_at_sightings(self) -> None:
        """What the stream told of, it did not describe: the contract itself does."""
        now_ns = self._clock.now_ns()
        in_flight = self._desk.in_flight()
        for sighting in self._evidence.look(self._orders(), in_flight, now_ns, self._slack_s, LOOKS_A_TURN):
            try:
                contract = await self._contract(sighting.contract_id)
            except (CallRefusedError, MalformedAnswer) as error:
                # The lists will tell.
                _log.warning("a purchase could not be looked at", contract_id=sighting.contract_id, problem=str(error))
                continue
            purchase = None if contract is None else lists.of_contract(contract)
            if purchase is not None:
                self._evidence.seen_closely(purchase)

    async def _read_lists(self) -> None:
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
                self._take(lists.of_portfolio(self._codec, frame))
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
        rows, complete = await lists.statement(self._client, self._codec, "buy", since_s, until_s)
        self._take([row for one in rows if (row := lists.of_statement(one)) is not None])
        # Some have been decided while it was read.
        names = [order.order_id for order in near if order.order_id in self._lost]
        self._serve(names, Read.STATEMENT, now_ns)
        if complete:
            for name in names:
                entry = self._lost[name]
                self._lost[name] = LostOrder(entry.order, entry.clean_reads + 1, now_ns)

    def _take(self, rows: Sequence[lists.Row]) -> None:
        self._evidence.take(rows, self._orders(), self._desk.in_flight(), self._clock.now_ns(), self._slack_s)

    def _serve(self, order_ids: Sequence[str], read: Read, read_ns: int) -> None:
        for order_id in order_ids:
            step = self._steps.get(order_id, 0)
            self._steps[order_id] = steps_served(self._lost[order_id].order, step, read, read_ns)

    async def _conclude(self) -> None:
        """Judge by all that is known now: the reads took time, and some orders were answered meanwhile."""
        self._take_stock()
        if not self._lost:
            return
        now_ns = self._clock.now_ns()
        purchases = self._evidence.unclaimed(self._orders(), now_ns, self._slack_s)
        verdicts = judge(
            list(self._lost.values()),
            self._desk.in_flight(),
            purchases,
            now_ns,
            self._slack_s,
            self._absent_after_s,
            self._evidence.is_foreign_like,
            self._desk.skew.ahead_ns,
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
        with self._desk.feed.journal.together():
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
                self._desk.confirm(order, verdict)
            case NotFound():
                _log.info("lost order is in no record", order_id=order.order_id)
                self._desk.conclude(order, verdict)
            case Doubted(doubt, candidates):
                if (doubt, candidates) != (order.doubt, order.candidates):
                    self._desk.conclude(order, verdict)

    # Exits and ends

    async def _contract(self, contract_id: int) -> ContractState | None:
        request = requests.ProposalOpenContract(proposal_open_contract=1, contract_id=contract_id)
        return self._codec.decode_contract(await self._client.call(GATEWAY, request))

    async def _check_exits(self) -> None:
        for order_id in self._desk.exits.due(self._clock.now_ns()):
            order = self._desk.open.get(order_id)
            if order is None:
                continue
            read_ns = self._clock.now_ns()
            try:
                contract = await self._contract(order.contract_id)
            except (CallRefusedError, MalformedAnswer) as error:
                _log.warning("the contract of a doubtful exit could not be read", order_id=order_id, problem=str(error))
                continue
            if contract is not None:
                self._desk.on_contract(order, contract)
                self._desk.exits.looked(order_id, contract, read_ns)

    async def _check_overdue(self) -> None:
        now_ns = self._clock.now_ns()
        for order in list(self._desk.open.values()):
            if order.state is not State.CONFIRMED:
                continue
            # The receipt may be wrong about the time, too.
            late_s = max(0, order.purchase_epoch_s - order.answered_time_ns // 10**9 - CLOCK_SLACK_S)
            over_ns = (end_s(order) - late_s) * 10**9 + round(OVERDUE_AFTER_S * 1e9)
            checks, due_ns = self._checks.get(order.order_id, (0, over_ns))
            if now_ns < due_ns:
                continue
            again_ns = now_ns + round(backoff_s(checks, order.order_id, 2.0) * 1e9)
            self._checks[order.order_id] = (checks + 1, again_ns)
            contract, is_denied = None, False
            try:
                contract = await self._contract(order.contract_id)
                is_denied = contract is None
            except (CallRefusedError, MalformedAnswer) as error:
                # One contract that cannot be read is no reason to leave the next one alone.
                _log.warning("an ended contract could not be read", order_id=order.order_id, problem=str(error))
                is_denied = isinstance(error, CallRefusedError) and error.code == NO_SUCH_CONTRACT
            self._denied[order.order_id] += is_denied
            if contract is not None:
                self._desk.on_contract(order, contract)
            elif checks + 1 >= LAST_RESORT_CHECKS:
                self._hopeless[order.order_id] = None
        for known in (self._checks, self._denied, self._hopeless, self._missing_ns):
            for order_id in known.keys() - self._desk.open.keys():
                del known[order_id]
        now_ns = self._clock.now_ns()
        if self._hopeless and now_ns >= self._last_resort_due_ns:
            self._last_resort_due_ns = now_ns + round(LAST_RESORT_EVERY_S * 1e9)
            hopeless = [self._desk.open[order_id] for order_id in self._hopeless]
            self._hopeless.clear()
            await self._settle_by_statement(hopeless)

    async def _settle_by_statement(self, orders: Sequence[Order]) -> None:
        """The last resort for contracts that Deriv will not show: what the account was paid for them."""
        since_s = min(span_s(order, order.answered_time_ns)[0] for order in orders)
        rows, _ = await lists.statement(self._client, self._codec, "sell", since_s, math.ceil(self._clock.now_s()))
        by_contract = {order.contract_id: order for order in orders}
        for row in rows:
            order = by_contract.get(row.contract_id or 0)
            if order is not None:
                ending = ending_of(order, row.amount, row.transaction_time_s)
                self._desk.settle(
                    order.contract_id, Settled(row.amount, row.transaction_time_s, ending, row.transaction_id)
                )
        now_ns, absent_ns = self._clock.now_ns(), round(self._absent_after_s * 1e9)
        missing = [
            order
            for order in (self._desk.open.get(order.order_id) for order in orders)
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
        listed, is_whole = await lists.statement(self._client, self._codec, "buy", since_s, until_s)
        rows = [row for one in listed if (row := lists.of_statement(one)) is not None]
        rows += lists.of_portfolio(self._codec, await self._client.call(GATEWAY, requests.Portfolio(portfolio=1)))
        shown = {row.contract_id for row in rows}
        claimed = self._desk.feed.journal.claimed(self._client.account, shown)
        purchases = [row.purchase for row in rows if row.purchase is not None and row.contract_id not in claimed]
        for order in (self._desk.open.get(order.order_id) for order in orders):
            if order is None or not _is_at_rest(
                order, now_ns
            ):  # the reads took time, and an exit may have been asked for
                continue
            if order.contract_id in shown or not is_whole:
                self._missing_ns.pop(order.order_id, None)
            elif self._missing_ns.setdefault(order.order_id, now_ns) < now_ns:
                like = {one.contract_id: one for one in purchases if fits(order, one, now_ns, self._slack_s)}
                self._desk.disprove(order, tuple(map(candidate_of, like.values())))
                # If a person names another contract, that one is looked for from the beginning.
                del self._checks[order.order_id], self._denied[order.order_id], self._missing_ns[order.order_id]


def _is_at_rest(order: Order, read_ns: int) -> bool:
    """Whether its contract is open, and nothing that was done to it can have its effect after a read begun then."""
    return order.state is State.CONFIRMED and all(
        one.state in DECIDED or (one.state is ExitState.UNKNOWN and is_late_enough(one, read_ns)) for one in order.exits
    )


def _now(entry: LostOrder, order: Order) -> LostOrder:
    return entry if entry.order is order else LostOrder(order, entry.clean_reads, entry.read_ns)

"""Compares what the desk believes with the account's own records, beside the trading and never in its way.

Two things need it: orders whose answer was lost, and contracts that should have ended without anybody having said so.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.backoff import backoff_s
from derivfleet.deriv import requests, shortcodes
from derivfleet.deriv.errors import MalformedAnswer
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.gateway.core.orders import NotFound, Order, State
from derivfleet.gateway.core.reconcile import (
    ABSENT_AFTER_S,
    CLOCK_SLACK_S,
    READ_AFTER_S,
    LostOrder,
    Purchase,
    assign,
    is_proven_absent,
)
from derivfleet.gateway.core.schedule import GATEWAY
from derivfleet.gateway.journal.store import JournalError
from derivfleet.gateway.upstream.connection import AnswerLostError, CallRefusedError
from derivfleet.gateway.upstream.line import TurnRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from derivfleet.deriv.answers import StatementRow
    from derivfleet.gateway.desk import Desk

__all__ = ["Reconciler"]

_log = structlog.get_logger()

UNREADABLE = (CallRefusedError, AnswerLostError, TurnRefusedError, MalformedAnswer, JournalError)
TURN_S = 0.5
"""How often it is looked whether something is due."""
OVERDUE_AFTER_S = 5.0
"""A contract's end is booked in the second of its exit tick; this much later its news must have been missed."""
SLOWEST_TICK_S = 2
UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
STATEMENT_ROWS = 500
MOST_PAGES = 10
LEAST_SLACK_WALL_S = 1.0
LEAST_ABSENCE_WALL_S = 2.0
"""Networks and processors do not run faster when the clock does."""


class Reconciler:
    """One account's comparison with its records."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._line = desk.line
        self._clock = desk.line.clock
        self._codec = desk.line.pool.entrance.codec
        self._clean_reads: dict[str, int] = {}
        self._reads: dict[str, int] = {}
        self._checks: dict[str, tuple[int, int]] = {}
        self._slack_s = max(CLOCK_SLACK_S, self._clock.fleet_s(LEAST_SLACK_WALL_S))
        self._absent_after_s = max(ABSENT_AFTER_S, self._clock.fleet_s(LEAST_ABSENCE_WALL_S))
        self._task = asyncio.create_task(self._run(), name=f"reconcile {self._line.account}")

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(TURN_S)
            # Each by itself: what keeps one from being done must not keep the others.
            done = [await self._tried(step) for step in (self._take_up_stranded, self._find_lost, self._check_overdue)]
            if not all(done):
                await self._clock.sleep(backoff_s(1, self._line.account))

    async def _tried(self, step: Callable[[], Awaitable[None]]) -> bool:
        try:
            await step()
        except UNREADABLE as error:
            _log.warning("the account's records could not be read, trying again", problem=str(error))
            return False
        except Exception:  # noqa: BLE001 - without this task nobody finds lost orders and missed settlements
            _log.exception("reconciling failed in an unforeseen way, trying again", account=self._line.account)
            return False
        return True

    async def _take_up_stranded(self) -> None:
        self._desk.take_up_stranded()

    async def _find_lost(self) -> None:
        lost = self._lost_orders()
        self._forget_answered()
        if not any(self._is_due(entry) for entry in lost):
            return
        for entry in lost:
            self._reads[entry.order.order_id] = self._reads.get(entry.order.order_id, 0) + 1
        since_s = min(entry.order.sent_time_ns for entry in lost) // 10**9 - math.ceil(self._slack_s)
        until_s = max(entry.lost_time_ns for entry in lost) // 10**9 + math.ceil(self._slack_s)
        rows, complete = await self._purchases_between(since_s, until_s)
        purchases = [purchase for row in rows if (purchase := _purchase(row)) is not None]
        claimed = self._desk.feed.journal.claimed(self._line.account, [row.contract_id for row in purchases])
        # The read took time: some orders may have been answered meanwhile, others lost.
        lost = [entry for entry in lost if entry.order.order_id in self._desk.lost_time_ns]
        in_flight = [order for order in self._desk.open.values() if order.state is State.SENT]
        found = assign(lost, in_flight, purchases, claimed, self._clock.now_ns(), self._slack_s)
        for order, receipt in found:
            _log.info("lost order found in the statement", order_id=order.order_id, contract_id=receipt.contract_id)
            self._desk.confirm(order, receipt)
        if complete:
            self._count_clean_read({order.order_id for order, _ in found}, lost)

    def _count_clean_read(self, found: set[str], lost: Sequence[LostOrder]) -> None:
        now_ns = self._clock.now_ns()
        for entry in lost:
            order_id = entry.order.order_id
            if order_id in found:
                continue
            reads = self._clean_reads[order_id] = self._clean_reads.get(order_id, 0) + 1
            if is_proven_absent(LostOrder(entry.order, entry.lost_time_ns, reads), now_ns, self._absent_after_s):
                _log.info("lost order is in no record", order_id=order_id)
                self._desk.conclude(entry.order, NotFound())

    def _lost_orders(self) -> list[LostOrder]:
        return [
            LostOrder(order, self._desk.lost_time_ns[order.order_id], self._clean_reads.get(order.order_id, 0))
            for order in self._desk.open.values()
            if order.order_id in self._desk.lost_time_ns
        ]

    def _forget_answered(self) -> None:
        for counts in (self._clean_reads, self._reads):
            for order_id in [order_id for order_id in counts if order_id not in self._desk.lost_time_ns]:
                del counts[order_id]

    def _is_due(self, entry: LostOrder) -> bool:
        reads = self._reads.get(entry.order.order_id, 0)
        # After the planned reads it goes on at the pace of the last one.
        over = max(0, reads - len(READ_AFTER_S) + 1)
        after_s = READ_AFTER_S[min(reads, len(READ_AFTER_S) - 1)] * (1 + over)
        return self._clock.now_ns() - entry.lost_time_ns >= after_s * 10**9

    async def _purchases_between(self, since_s: int, until_s: int) -> tuple[list[StatementRow], bool]:
        """The statement's buys of a span of time, and whether that was all of them."""
        rows: list[StatementRow] = []
        for page in range(MOST_PAGES):
            request = requests.Statement(
                statement=1,
                action_type="buy",
                date_from=since_s,
                date_to=until_s,
                description=1,
                limit=STATEMENT_ROWS,
                offset=page * STATEMENT_ROWS or None,
            )
            more = self._codec.decode_statement(await self._line.call(GATEWAY, request))
            rows += more
            if len(more) < STATEMENT_ROWS:
                return rows, True
        return rows, False

    async def _check_overdue(self) -> None:
        now_ns = self._clock.now_ns()
        for order in list(self._desk.open.values()):
            if order.state is not State.CONFIRMED:
                continue
            checks, due_ns = self._checks.get(order.order_id, (0, _end_ns(order) + round(OVERDUE_AFTER_S * 1e9)))
            if now_ns < due_ns:
                continue
            again_ns = now_ns + round(backoff_s(checks, order.order_id, 2.0) * 1e9)
            self._checks[order.order_id] = (checks + 1, again_ns)
            request = requests.ProposalOpenContract(proposal_open_contract=1, contract_id=order.contract_id)
            try:
                contract = self._codec.decode_contract(await self._line.call(GATEWAY, request))
            except (CallRefusedError, MalformedAnswer) as error:
                # One contract that cannot be read is no reason to leave the next one alone.
                _log.warning("an ended contract could not be read", order_id=order.order_id, problem=str(error))
                continue
            if contract is not None:
                self._desk.on_contract(order, contract)
        for order_id in [order_id for order_id in self._checks if order_id not in self._desk.open]:
            del self._checks[order_id]


def _end_ns(order: Order) -> int:
    """When the contract must have ended: ticks are counted with their symbol's spacing, one more for the entry."""
    terms = order.terms
    if terms.duration_unit == "t":
        symbol = SYMBOLS.get(terms.symbol)
        spacing_s = SLOWEST_TICK_S if symbol is None else symbol.tick_spacing_s
        length_s = (terms.duration + 1) * spacing_s
    else:
        length_s = terms.duration * UNIT_S[terms.duration_unit]
    return (order.purchase_epoch_s + length_s) * 10**9


def _purchase(row: StatementRow) -> Purchase | None:
    """A statement's row as a purchase; None if it is none, or of a kind that the fleet does not buy."""
    code = shortcodes.parse(row.shortcode or "")
    if code is None or row.contract_id is None:
        return None
    return Purchase(
        contract_id=row.contract_id,
        transaction_id=row.transaction_id,
        price=-row.amount,
        payout=code.payout,
        epoch_s=row.transaction_time_s,
        contract_type=code.contract_type,
        symbol=code.symbol,
        barrier=code.barrier or "",
        duration_ticks=code.duration_ticks,
        expiry_s=code.expiry_s,
    )

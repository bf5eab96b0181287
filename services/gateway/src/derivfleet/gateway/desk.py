"""The trading desk of one account: carries orders from intent to settlement.

Each transition is decided by ``core/orders``, written to the journal, and only then acted upon. A purchase runs in a
task of its own: the caller may give up waiting, the order goes on.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.spans import Attribute, SpanName
from derivfleet.common.telemetry import context_from
from derivfleet.deriv import requests
from derivfleet.deriv.errors import MalformedAnswer, outcome_of
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway import wording
from derivfleet.gateway.core.orders import (
    FINAL,
    Confirmed,
    Denied,
    Event,
    Lost,
    Order,
    OrderTerms,
    Rejected,
    Sent,
    Settled,
    State,
    advance,
    differing_field,
)
from derivfleet.gateway.core.tally import Tallies
from derivfleet.gateway.diary import told
from derivfleet.gateway.fuse import Fuse
from derivfleet.gateway.journal.store import JournalError
from derivfleet.gateway.refusals import (
    DerivSickError,
    DeskClosedError,
    DifferentOrderError,
    LeaseLostError,
    SellRefusedError,
)
from derivfleet.gateway.upstream.connection import AnswerLostError, CallRefusedError
from derivfleet.gateway.upstream.line import NotConnectedError, TurnRefusedError
from derivfleet.gateway.upstream.pool import Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from derivfleet.common.telemetry import OpenSpan, Telemetry
    from derivfleet.deriv.answers import ContractState, Transaction
    from derivfleet.gateway.core.schedule import Ticket
    from derivfleet.gateway.fuse import Attempt
    from derivfleet.gateway.journal.feed import Feed
    from derivfleet.gateway.upstream.connection import Frame
    from derivfleet.gateway.upstream.line import Line

__all__ = ["Desk"]

_log = structlog.get_logger()

RECALLED_NS = 120 * 10**9  # purchases so young count in their bot's cap after a restart, as if just answered
CLOSE_PATIENCE_WALL_S = 0.5
EARLY_SALES_KEPT = 10_000
"""Sales heard of before the receipt of their purchase, or of trades that are not the fleet's."""


@dataclass(slots=True)
class _Purchase:
    """A purchase under way."""

    task: asyncio.Task[Order]
    refused_wait_ns: int | None = None


class Desk:
    """Buys, sells and settles the orders of one account."""

    def __init__(self, line: Line, feed: Feed, telemetry: Telemetry, currency: str) -> None:
        self.line = line
        self.feed = feed
        self.tallies = Tallies()
        self.fuse = Fuse(line.account, line.clock)
        self.foreign_trades = 0
        self.open: dict[str, Order] = {}
        self.lost_time_ns: dict[str, int] = {}
        """When the answer to each unknown order was given up."""
        self._account = line.account
        self._codec = line.pool.entrance.codec
        self._clock = line.clock
        self._telemetry = telemetry
        self._currency = currency
        self._purchases: dict[str, _Purchase] = {}
        self._by_contract: dict[int, str] = {}
        self._early: OrderedDict[int, Settled] = OrderedDict()
        self._settling: dict[str, OpenSpan] = {}
        self._closing = False

    def recover(self) -> None:
        """Take up the orders of an earlier run: what was being sent is unknown now, what was not sent never will be."""
        now_ns = self._clock.now_ns()
        journal = self.feed.journal
        self.tallies.replay(journal.tallies(self._account))
        for bot in journal.sent_since(self._account, now_ns - RECALLED_NS):
            self.line.schedule.recall(bot, Call.BUY, now_ns)
        for order in journal.open_orders(self._account):
            self.open[order.order_id] = order
            match order.state:
                case State.INTENDED | State.SENT:
                    self._take_up(order, "the gateway ended")
                case State.UNKNOWN:
                    self.lost_time_ns[order.order_id] = now_ns
                case _:
                    self._by_contract[order.contract_id] = order.order_id

    def find(self, order_id: str) -> Order | None:
        """An order of this account, whatever became of it."""
        return self.open.get(order_id) or self.feed.journal.order(self._account, order_id)

    async def buy(
        self,
        bot: str,
        order_id: str,
        terms: OrderTerms,
        deadline_ns: int,
        traceparent: str,
        has_lease: Callable[[], bool],
    ) -> tuple[Order, int | None]:
        """Buy once; returns the order as far as it is known, and if its turn was refused now, how long that was away.

        ``has_lease`` tells whether the asking replica holds the symbol; it is asked again right before the sending.
        Raises DifferentOrderError if the id is taken by another order. Nothing is written down, and asking again with
        the same id is safe, if it raises LeaseLostError (the replica may not buy), TurnRefusedError (it could not be
        sent before the deadline), DeskClosedError (no new orders are taken) or JournalError.
        """
        known = self.find(order_id)
        if known is not None:
            field = differing_field(known, bot, terms)
            if field is not None:
                raise DifferentOrderError(order_id, field)
        purchase = self._purchases.get(order_id)
        if purchase is None:
            if known is not None:
                return known, None
            if self._closing:
                raise DeskClosedError(f"order {order_id} was not taken: the gateway is ending")
            if not has_lease():
                raise LeaseLostError(order_id, terms.symbol)
            ticket = self._admitted(bot, deadline_ns)
            order = Order(
                account=self._account,
                order_id=order_id,
                bot=bot,
                terms=terms,
                state=State.INTENDED,
                intended_time_ns=self._clock.now_ns(),
                traceparent=traceparent,
            )
            try:
                self._write(None, order)
            except BaseException:
                self.line.turns.give_up(ticket)
                raise
            task = asyncio.create_task(self._carried_through(order, deadline_ns, has_lease, ticket))
            purchase = self._purchases[order_id] = _Purchase(task)
            task.add_done_callback(lambda _: (self._purchases.pop(order_id, None), self.line.turns.give_up(ticket)))
        order = await asyncio.shield(purchase.task)
        return order, purchase.refused_wait_ns

    def _admitted(self, bot: str, deadline_ns: int) -> Ticket:
        """A place in the queue. A bot that floods must not fill the disk nor the log: who has no chance is no order."""
        try:
            return self.line.ask(bot, Call.BUY, deadline_ns)
        except TurnRefusedError as error:
            count = self.tallies.refused(bot, self._clock.now_ns())
            if count:
                _log.warning("orders refused", account=self._account, bot=bot, count=count, problem=str(error))
            raise

    async def sell(self, order: Order, min_price: Decimal, deadline_ns: int, traceparent: str) -> Order:
        """Sell the contract of a confirmed order; returns the order after it.

        Raises SellRefusedError, TurnRefusedError (nothing was sent) or AnswerLostError (the records will tell).
        """
        if order.state is not State.CONFIRMED:
            raise SellRefusedError("ORDER_NOT_OPEN", f"order {order.order_id} is {order.state}, nothing to sell")
        request = requests.Sell(sell=order.contract_id, price=min_price)
        parent = context_from([("traceparent", traceparent)])
        try:
            frame = await self.line.call(order.bot, request, Role.EXITS, deadline_ns, parent)
            receipt = self._codec.decode_sell(frame)
        except CallRefusedError as error:
            raise SellRefusedError(error.code, error.message) from None
        except MalformedAnswer:
            raise AnswerLostError("sell", "MalformedAnswer", handed_over=True) from None
        self.settle(order.contract_id, Settled(receipt.sold_for, int(self._clock.now_s())))
        return self.find(order.order_id) or order

    async def drain(self, patience_s: float) -> None:
        """Take no new orders, deny those that wait for a turn, and wait a while for the others under way."""
        self._closing = True
        tasks = [purchase.task for purchase in self._purchases.values()]
        for order_id, purchase in self._purchases.items():
            if self.open[order_id].state is State.INTENDED:
                purchase.task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self._clock.wall_s(patience_s))

    async def close(self) -> None:
        """See the last purchases end, when the sockets are closed. What is still open then, the next start takes up."""
        tasks = [purchase.task for purchase in self._purchases.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_PATIENCE_WALL_S)

    def take_up_stranded(self) -> None:
        """Give orders whose purchase has ended without a word a state from which they go on."""
        for order in list(self.open.values()):
            if order.order_id not in self._purchases:
                self._take_up(order, "the gateway failed")

    def on_transaction(self, frame: Frame) -> None:
        """A movement of the account's money, as its own stream tells it."""
        try:
            movement: Transaction | None = self._codec.decode_transaction(frame)
        except MalformedAnswer as error:
            _log.warning("transaction without use", account=self._account, problem=str(error))
            return
        if movement is not None and movement.action == "sell" and movement.contract_id:
            self.settle(movement.contract_id, Settled(movement.amount, movement.transaction_time_s))

    def on_contract(self, order: Order, contract: ContractState) -> None:
        """What a contract looks like at Deriv: the end of it settles the order."""
        if contract.is_sold and contract.sell_price is not None:
            self.settle(order.contract_id, Settled(contract.sell_price, contract.sell_time_s or 0))

    def settle(self, contract_id: int, event: Settled) -> None:
        """A contract has ended. What is not known yet is remembered: sales can overtake receipts."""
        order = self.open.get(self._by_contract.get(contract_id, ""))
        if order is None:
            awaiting_receipt = any(order.state in (State.SENT, State.UNKNOWN) for order in self.open.values())
            if not awaiting_receipt:
                self.foreign_trades += not self.feed.journal.claimed(self._account, [contract_id])
                return
            self._early[contract_id] = event
            if len(self._early) > EARLY_SALES_KEPT:
                self._early.popitem(last=False)
            return
        self._move(order, event)

    def confirm(self, order: Order, receipt: Confirmed) -> Order:
        """An order was bought: by Deriv's receipt, or by a record that stands for it."""
        if self.feed.journal.claimed(order.account, [receipt.contract_id]):
            # It was lost together with an order like it, and that one got its contract. The other one's will be found.
            _log.warning("contract belongs to another order", order_id=order.order_id, contract_id=receipt.contract_id)
            message = "its contract was taken for that of an order like it; the account's records will tell"
            return self._lose(order, "CONTRACT_TAKEN", message) if order.state is State.SENT else order
        order = self._move(order, receipt)
        self._by_contract[order.contract_id] = order.order_id
        attributes = {
            Attribute.ACCOUNT: order.account,
            Attribute.BOT: order.bot,
            Attribute.ORDER_ID: order.order_id,
            Attribute.CONTRACT_ID: order.contract_id,
        }
        parent = context_from([("traceparent", order.traceparent)])
        self._settling[order.order_id] = self._telemetry.start(SpanName.SETTLE, attributes, parent)
        early = self._early.pop(order.contract_id, None)
        return order if early is None else self._move(order, early)

    def conclude(self, order: Order, event: Event) -> None:
        """What reconciling has found out about an unknown order."""
        self._move(order, event)

    async def _carried_through(
        self, order: Order, deadline_ns: int, has_lease: Callable[[], bool], ticket: Ticket
    ) -> Order:
        """A purchase that ends in an order one can go on with, whatever happens."""
        attempt = self.fuse.attempt()
        try:
            return attempt.ended(await self._purchase(order, deadline_ns, has_lease, ticket, attempt))
        except asyncio.CancelledError:
            return self._take_up(self.open[order.order_id], "the gateway ended")
        except Exception:  # noqa: BLE001 - money may be on its way, so whatever it was, the order must go on
            _log.exception("a purchase failed in an unforeseen way", order_id=order.order_id, trace_id=order.trace_id)
            return self._take_up(self.open[order.order_id], "the gateway failed")
        finally:
            attempt.withdraw()

    def _take_up(self, order: Order, reason: str) -> Order:
        """Nobody carries this purchase on: what was not sent never will be, what was sent is unknown."""
        match order.state:
            case State.INTENDED:
                return self._move(order, Denied("NOT_SENT", f"{reason} before it was sent"))
            case State.SENT:
                return self._lose(order, "ABANDONED", f"{reason} before the answer came")
            case _:
                return order

    async def _purchase(
        self, order: Order, deadline_ns: int, has_lease: Callable[[], bool], ticket: Ticket, attempt: Attempt
    ) -> Order:
        terms, order_id = order.terms, order.order_id
        request, parent = wording.purchase(terms, self._currency), context_from([("traceparent", order.traceparent)])
        late, bot = partial(self._late, order_id), order.bot

        def sending() -> None:
            if not has_lease():
                raise LeaseLostError(order_id, terms.symbol)
            attempt.enter()
            self._move(self.open[order_id], Sent())

        try:
            attempt.check()
            frame = await self.line.call(bot, request, Role.ORDERS, deadline_ns, parent, sending, late, asked=ticket)
        except TurnRefusedError as error:
            code = "NOT_CONNECTED" if isinstance(error, NotConnectedError) else "LIMIT_REACHED"
            return self._deny(order_id, code, str(error), error.refusal.wait_ns)
        except DerivSickError as error:
            return self._deny(order_id, "DERIV_SICK", str(error), error.wait_ns)
        except (LeaseLostError, JournalError) as error:
            code = "LEASE_LOST" if isinstance(error, LeaseLostError) else "JOURNAL_NOT_WRITTEN"
            return self._move(self.open[order_id], Denied(code, str(error)))
        except CallRefusedError as error:
            return self._refused(self.open[order_id], error.code, error.message)
        except AnswerLostError as error:
            if not error.handed_over:
                message = "the socket closed before it was sent"
                return self._move(self.open[order_id], Denied("NOT_SENT", message))
            attempt.lost_with = error.connection
            return self._lose(self.open[order_id], error.code, "the answer was lost; the account's records will tell")
        return self._received(self.open[order_id], frame)

    def _deny(self, order_id: str, code: str, message: str, wait_ns: int) -> Order:
        """It is not sent, and its caller is told when another one may be."""
        purchase = self._purchases.get(order_id)
        if purchase is not None:
            purchase.refused_wait_ns = wait_ns
        return self._move(self.open[order_id], Denied(code, message))

    def _received(self, order: Order, frame: Frame) -> Order:
        try:
            receipt = self._codec.decode_buy(frame)
        except MalformedAnswer as error:
            # Such an answer may stand for a purchase. If it comes late, the order is unknown already.
            return self._lose(order, "MalformedAnswer", str(error)) if order.state is State.SENT else order
        return self.confirm(order, wording.confirmed(receipt))

    def _refused(self, order: Order, code: str, message: str) -> Order:
        if order.state is not State.NOT_FOUND and outcome_of(Call.BUY, code, message).certainly_not_executed:
            return self._move(order, Rejected(code, message))
        return self._lose(order, code, message) if order.state is State.SENT else order

    def _late(self, order_id: str, frame: Frame) -> None:
        """The answer to a purchase that was given up: as good as any, if nothing else has told what became of it."""
        order = self.find(order_id)
        if order is None or order.state not in (State.UNKNOWN, State.NOT_FOUND):
            return
        _log.info("late answer", order_id=order_id, trace_id=order.trace_id)
        error = self._codec.decode_error(frame)
        if error is not None:
            self._refused(order, error.code, error.message)
        else:
            self._received(order, frame)

    def _lose(self, order: Order, code: str, message: str) -> Order:
        moved = self._move(order, Lost(code, message))
        self.lost_time_ns[order.order_id] = self._clock.now_ns()
        return moved

    def _move(self, order: Order, event: Event) -> Order:
        moved = advance(order, event, self._clock.now_ns())
        self._write(order.state, moved)
        return moved

    def _write(self, before: State | None, order: Order) -> None:
        self.feed.write(order, self._clock.now_ns())
        self.tallies.count(before, order)
        if order.state is not State.UNKNOWN:
            self.lost_time_ns.pop(order.order_id, None)
        if order.state in FINAL:
            self.open.pop(order.order_id, None)
            self._by_contract.pop(order.contract_id, None)
            self._end_settling(order)
        else:
            self.open[order.order_id] = order
        told(order)

    def _end_settling(self, order: Order) -> None:
        span = self._settling.pop(order.order_id, None)
        if span is not None:
            span.set({Attribute.STATE: order.state, Attribute.PROFIT: str(order.profit)})
            span.end()

"""The trading desk of one account: carries orders from intent to settlement.

Each transition is decided by ``core/orders``, written to the journal, and only then acted upon. A purchase runs in a
task of its own: the caller may give up waiting, the order goes on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.telemetry import context_from
from derivfleet.connection.connection import AnswerLostError, CallRefusedError
from derivfleet.deriv.errors import MalformedAnswer, outcome_of
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway import wording
from derivfleet.gateway.core.orders.clock_skew import KEPT, Skew
from derivfleet.gateway.core.orders.denials import (
    DerivSickError,
    DeskClosedError,
    DifferentOrderError,
    LeaseLostError,
    OrderDoubtfulError,
)
from derivfleet.gateway.core.orders.operations import Denied, Lost, Rejected, Sent
from derivfleet.gateway.core.orders.order import FINAL, Candidate, Doubt, Order, OrderTerms, State, differing_field
from derivfleet.gateway.core.orders.tally import Tallies
from derivfleet.gateway.core.orders.transitions import Confirmed, Disproved, Event, Settled, advance
from derivfleet.gateway.core.reconcile.lost_orders import is_watched
from derivfleet.gateway.journal.store import JournalError
from derivfleet.gateway.orders.circuit_breaker import Fuse
from derivfleet.gateway.orders.exits import Exits
from derivfleet.gateway.orders.order_log import told
from derivfleet.gateway.orders.settlements import Settlements
from derivfleet.gateway.reconciling.evidence import Evidence
from derivfleet.gateway.upstream.client import NotConnectedError, TurnRefusedError
from derivfleet.gateway.upstream.pool import ConnectionRole

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.common.telemetry import Telemetry
    from derivfleet.connection.connection import Frame
    from derivfleet.deriv.answers import ContractState
    from derivfleet.gateway.core.schedule import Ticket
    from derivfleet.gateway.journal.feed import Feed
    from derivfleet.gateway.orders.circuit_breaker import Attempt
    from derivfleet.gateway.upstream.client import AccountClient

__all__ = ["Desk"]

_log = structlog.get_logger()

RECALLED_NS = 120 * 10**9  # purchases so young count in their bot's cap after a restart, as if just answered
CLOSE_PATIENCE_WALL_S = 0.5
MOST_WATCHED = 1_000
"""Orders not found in the last ten minutes that a start takes up to watch."""


@dataclass(slots=True)
class _Purchase:
    """A purchase under way."""

    task: asyncio.Task[Order]
    refused_wait_ns: int | None = None


class Desk:
    """Buys, sells and settles the orders of one account."""

    def __init__(self, client: AccountClient, feed: Feed, telemetry: Telemetry, currency: str) -> None:
        self.client = client
        self.feed = feed
        self.tallies = Tallies()
        self.fuse = Fuse(client.account, client.clock)
        self.open: dict[str, Order] = {}
        self.unknown: dict[str, Order] = {}
        """The open orders of which nobody knows whether they were bought."""
        self.watched: dict[str, Order] = {}
        """Orders that were not found, while a late record may still show them."""
        self._account = client.account
        self._codec = client.pool.login.codec
        self._clock = client.clock
        self._currency = currency
        self._purchases: dict[str, _Purchase] = {}
        self.is_closing = False
        self.evidence = Evidence(
            client.account,
            partial(feed.journal.claimed, client.account),
            partial(feed.journal.write_foreign, client.account),
        )
        self.skew = Skew()
        self.exits = Exits(self)
        self.settlements = Settlements(self, telemetry)

    def recover(self) -> None:
        """Take up the orders of an earlier run: what was being sent is unknown now, what was not sent never will be."""
        now_ns = self._clock.now_ns()
        journal = self.feed.journal
        self.tallies.replay(journal.tallies(self._account))
        for order in reversed(journal.page(self._account, "", "", 0, KEPT)[0]):
            self.skew.see(order)
        self.evidence.recall(journal.foreign(self._account))
        for bot in journal.sent_since(self._account, now_ns - RECALLED_NS):
            self.client.schedule.recall(bot, Call.BUY, now_ns)
        for order in journal.open_orders(self._account):
            self.open[order.order_id] = order
            match order.state:
                case State.INTENDED | State.SENT:
                    self._take_up(order, "the gateway ended")
                case State.UNKNOWN:
                    # One written down by a gateway that did not yet note the time of the loss has none.
                    lost = replace(order, lost_time_ns=order.lost_time_ns or now_ns)
                    self.open[order.order_id] = self.unknown[order.order_id] = lost
                case _:
                    self.settlements.tie(order)
                    self.exits.take_up(order, "the gateway ended")
        missing, _ = self.feed.journal.page(self._account, "", State.NOT_FOUND, 0, MOST_WATCHED)
        self.watched = {order.order_id: order for order in missing if is_watched(order, now_ns)}

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
        the same id is safe, if it raises LeaseLostError (the replica may not buy), OrderDoubtfulError (the bot has one
        like it that an operator must decide about), TurnRefusedError (it could not be sent before the deadline),
        DeskClosedError (no new orders are taken) or JournalError.
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
            if self.is_closing:
                raise DeskClosedError(f"order {order_id} was not taken: the gateway is ending")
            if not has_lease():
                raise LeaseLostError(order_id, terms.symbol)
            self._check_doubts(order_id, bot, terms)
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
                self.client.turns.give_up(ticket)
                raise
            task = asyncio.create_task(self._carried_through(order, deadline_ns, has_lease, ticket))
            purchase = self._purchases[order_id] = _Purchase(task)
            task.add_done_callback(lambda _: (self._purchases.pop(order_id, None), self.client.turns.give_up(ticket)))
        order = await asyncio.shield(purchase.task)
        return order, purchase.refused_wait_ns

    def _admitted(self, bot: str, deadline_ns: int) -> Ticket:
        """A place in the queue. A bot that floods must not fill the disk nor the log: who has no chance is no order."""
        try:
            return self.client.ask(bot, Call.BUY, deadline_ns)
        except TurnRefusedError as error:
            count = self.tallies.refused(bot, self._clock.now_ns())
            if count:
                _log.warning("orders refused", account=self._account, bot=bot, count=count, problem=str(error))
            raise

    def _check_doubts(self, order_id: str, bot: str, terms: OrderTerms) -> None:
        for order in self.unknown.values():
            if order.doubt is not Doubt.NONE and (order.bot, order.terms) == (bot, terms):
                raise OrderDoubtfulError(order_id, order.order_id)

    async def drain(self, patience_s: float) -> None:
        """Take no new orders, deny those that wait for a turn, and wait a while for the others under way."""
        self.is_closing = True
        tasks = [*(purchase.task for purchase in self._purchases.values()), *self.exits.tasks]
        for order_id, purchase in self._purchases.items():
            order = self.open.get(order_id)  # None: it has just ended
            if order is not None and order.state is State.INTENDED:
                purchase.task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self._clock.wall_s(patience_s))

    async def close(self) -> None:
        """See the last calls end, when the sockets are closed. What is still open then, the next start takes up."""
        tasks = [*(purchase.task for purchase in self._purchases.values()), *self.exits.tasks]
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_PATIENCE_WALL_S)

    def take_up_stranded(self) -> None:
        """Give what has ended without a word a state from which it goes on."""
        for order in list(self.open.values()):
            if order.order_id not in self._purchases:
                self._take_up(order, "the gateway failed")
            if order.exits:
                self.exits.take_up(order, "the gateway failed")

    def on_transaction(self, frame: Frame) -> None:
        """A movement of the account's money, as its own stream tells it."""
        self.settlements.on_transaction(frame)

    def on_contract(self, order: Order, contract: ContractState) -> None:
        """What a contract looks like at Deriv: the end of it settles the order."""
        self.settlements.on_contract(order, contract)

    def settle(self, contract_id: int, event: Settled) -> None:
        """A contract has ended."""
        self.settlements.settle(contract_id, event)

    def confirm(self, order: Order, receipt: Confirmed) -> Order:
        """An order was bought: by Deriv's receipt, or by a record that stands for it."""
        if self.feed.journal.claimed(order.account, [receipt.contract_id]):
            # It was lost together with an order like it, and that one got its contract. The other one's will be found.
            _log.warning("contract belongs to another order", order_id=order.order_id, contract_id=receipt.contract_id)
            message = "its contract was taken for that of an order like it; the account's records will tell"
            return self._lose(order, "CONTRACT_TAKEN", message) if order.state is State.SENT else order
        order = self._move(order, receipt)
        self.skew.see(order)
        self.evidence.tied(order.contract_id)
        early = self.settlements.begin(order)
        return order if early is None else self._move(order, early)

    def disprove(self, order: Order, candidates: tuple[Candidate, ...]) -> Order:
        """No record knows the contract of an order's receipt: nobody waits for its end any longer."""
        moved = self._move(order, Disproved(candidates))
        self.settlements.end(order)
        return moved

    def conclude(self, order: Order, event: Event) -> Order:
        """What else is found out about an order, or done to it."""
        return self._move(order, event)

    def in_flight(self) -> list[Order]:
        """The orders whose receipt may still come."""
        return [order for order in self.open.values() if order.state is State.SENT]

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
            self._move(self.open[order_id], Sent(self.skew.ahead_ns(self._clock.now_ns())))

        try:
            attempt.check()
            frame = await self.client.call(
                bot, request, ConnectionRole.ORDERS, deadline_ns, parent, sending, late, asked=ticket
            )
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
        return self._move(order, Lost(code, message))

    def _move(self, order: Order, event: Event) -> Order:
        moved = advance(order, event, self._clock.now_ns())
        if moved != order:  # several of Deriv's words say the same
            self._write(order, moved)
        return moved

    def _write(self, before: Order | None, order: Order) -> None:
        self.feed.write(order, self._clock.now_ns())
        self.tallies.count(before, order)
        for state, orders in ((State.UNKNOWN, self.unknown), (State.NOT_FOUND, self.watched)):
            if order.state is state:
                orders[order.order_id] = order
            else:
                orders.pop(order.order_id, None)
        if order.state in FINAL:
            self.open.pop(order.order_id, None)
            self.settlements.end(order)
        else:
            self.open[order.order_id] = order
        told(order)
        if order.found_late and not (before is not None and before.found_late):
            _log.error("an order taken for not bought was bought after all", order_id=order.order_id, bot=order.bot)

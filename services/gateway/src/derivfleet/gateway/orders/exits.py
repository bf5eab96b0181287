"""Carries exits of orders out: sales, cancellations, changes of limit orders. Each once, and never in doubt for long.

Like a purchase, an exit is written down before its frame leaves and runs in a task of its own. Unlike a purchase it
can be proved: the contract itself shows whether it was done.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.telemetry import context_from
from derivfleet.connection.connection import AnswerLostError, CallRefusedError
from derivfleet.deriv import requests
from derivfleet.deriv.errors import MalformedAnswer, outcome_of
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.orders.denials import DeskClosedError, DifferentOrderError, ExitRefusedError
from derivfleet.gateway.core.orders.exit import (
    DECIDED,
    ENDINGS,
    Exit,
    ExitDone,
    ExitEvent,
    ExitKind,
    ExitNotDone,
    ExitState,
    ExitTerms,
    differing_exit_field,
    exit_of,
    fresh_id,
    in_the_way,
    is_late_enough,
    look_ns,
)
from derivfleet.gateway.core.orders.operations import Denied, Lost, Rejected, Sent
from derivfleet.gateway.core.orders.order import Order, State
from derivfleet.gateway.core.orders.transitions import ExitAsked, ExitMoved, Settled
from derivfleet.gateway.upstream.client import NotConnectedError, TurnRefusedError
from derivfleet.gateway.upstream.pool import ConnectionRole

if TYPE_CHECKING:
    from derivfleet.connection.connection import Frame
    from derivfleet.deriv.answers import ContractState
    from derivfleet.gateway.core.schedule import Ticket
    from derivfleet.gateway.orders.purchases import Desk

__all__ = ["Exits"]

_log = structlog.get_logger()
_CALLS = {ExitKind.SELL: Call.SELL, ExitKind.CANCEL: Call.CANCEL, ExitKind.UPDATE: Call.CONTRACT_UPDATE}


class _LateError(Exception):
    """The contract ended while its exit waited for a turn."""


class Exits:
    """The exits of one account's orders."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._client = desk.client
        self._codec = desk.client.pool.login.codec
        self._clock = desk.client.clock
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._looks: dict[str, int] = {}
        """How often the contract of an order with an exit in doubt was looked at."""

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Exits under way."""
        return list(self._tasks.values())

    async def carry_out(
        self, order: Order, exit_id: str, terms: ExitTerms, deadline_ns: int, traceparent: str
    ) -> tuple[Order, Exit]:
        """Do something to the contract of a confirmed order, once; returns the order and the exit as far as known.

        The same id gets the same exit. Without an id it is the one under way if that is the same, else a new one.
        Nothing is written down, and asking again is safe, if it raises ExitRefusedError (the order is not open, or
        another exit of its sort is not decided), DifferentOrderError (the id is another exit's), TurnRefusedError (it
        could not be sent before the deadline), DeskClosedError or JournalError.
        """
        order_id = order.order_id
        order = self._desk.find(order_id) or order
        blocking = in_the_way(order.exits, terms.kind)
        known = exit_of(order.exits, exit_id) if exit_id else blocking
        if known is not None and (field := differing_exit_field(known, terms)) is not None:
            if exit_id:
                raise DifferentOrderError(exit_id, field)
            known = None
        if known is None:
            if order.state is not State.CONFIRMED:
                raise ExitRefusedError("ORDER_NOT_OPEN", f"order {order_id} is {order.state}: its contract is not open")
            if blocking is not None:
                message = f"exit {blocking.exit_id} of order {order_id} is {blocking.state}: wait until it is decided"
                raise ExitRefusedError("EXIT_NOT_DECIDED", message)
            if self._desk.is_closing:
                raise DeskClosedError(f"exit of order {order_id} was not taken: the gateway is ending")
            ticket = self._client.ask(order.bot, _CALLS[terms.kind], deadline_ns)
            exit_id = exit_id or fresh_id(order.exits, terms.kind)
            try:
                self._desk.conclude(order, ExitAsked(exit_id, terms))
            except BaseException:
                self._client.turns.give_up(ticket)
                raise
            key = (order_id, exit_id)
            work = self._carried_through(order, exit_id, terms, deadline_ns, traceparent, ticket)
            self._tasks[key] = asyncio.create_task(work, name=f"{terms.kind} {order_id}")
            self._tasks[key].add_done_callback(
                lambda _: (self._tasks.pop(key, None), self._client.turns.give_up(ticket))
            )
            known = Exit(exit_id, terms, ExitState.INTENDED, 0)
        task = self._tasks.get((order_id, known.exit_id))
        if task is not None:
            await asyncio.shield(task)
        order = self._desk.find(order_id) or order
        return order, exit_of(order.exits, known.exit_id) or known

    async def _carried_through(
        self, order: Order, exit_id: str, terms: ExitTerms, deadline_ns: int, traceparent: str, ticket: Ticket
    ) -> None:
        """An exit that ends in a state one can go on from, whatever happens."""
        try:
            await self._send(order, exit_id, terms, deadline_ns, traceparent, ticket)
        except asyncio.CancelledError:
            self._abandon(order.order_id, exit_id, "the gateway ended")
        except Exception:  # noqa: BLE001 - money may be on its way, so whatever it was, the exit must go on
            _log.exception("an exit failed in an unforeseen way", order_id=order.order_id, exit_id=exit_id)
            self._abandon(order.order_id, exit_id, "the gateway failed")

    async def _send(
        self, order: Order, exit_id: str, terms: ExitTerms, deadline_ns: int, traceparent: str, ticket: Ticket
    ) -> None:
        order_id, contract_id = order.order_id, order.contract_id
        request = _request(contract_id, terms)

        def sending() -> None:
            if self._state(order_id, exit_id) is not ExitState.INTENDED:
                raise _LateError
            self._move(order_id, exit_id, Sent())

        try:
            parent = context_from([("traceparent", traceparent)])
            late = partial(self._late, order_id, exit_id, terms.kind)
            frame = await self._client.call(
                *(order.bot, request, ConnectionRole.EXITS, deadline_ns, parent, sending, late), asked=ticket
            )
        except _LateError:
            return
        except TurnRefusedError as error:
            code = "NOT_CONNECTED" if isinstance(error, NotConnectedError) else "LIMIT_REACHED"
            self._move_from(ExitState.INTENDED, order_id, exit_id, Denied(code, str(error)))
        except CallRefusedError as error:
            self._refused(order_id, exit_id, terms.kind, error.code, error.message)
        except AnswerLostError as error:
            self._move_from(ExitState.SENT, order_id, exit_id, _lost(error))
        else:
            self._received(order_id, exit_id, terms.kind, frame)

    def _late(self, order_id: str, exit_id: str, kind: ExitKind, frame: Frame) -> None:
        """The answer to an exit that was given up: as good as any."""
        _log.info("late answer to an exit", order_id=order_id, exit_id=exit_id)
        error = self._codec.decode_error(frame)
        if error is None:
            self._received(order_id, exit_id, kind, frame)
        else:
            self._refused(order_id, exit_id, kind, error.code, error.message)

    def _received(self, order_id: str, exit_id: str, kind: ExitKind, frame: Frame) -> None:
        order = self._desk.find(order_id)
        if order is None:
            return
        if not kind.ends_contract:
            self._move(order_id, exit_id, ExitDone())
            return
        try:
            receipt = self._codec.decode_sell(frame) if kind is ExitKind.SELL else self._codec.decode_cancel(frame)
        except MalformedAnswer as error:
            self._move_from(ExitState.SENT, order_id, exit_id, Lost("MalformedAnswer", str(error)))
            return
        if order.state is State.CONFIRMED:
            ended = Settled(receipt.sold_for, int(self._clock.now_s()), ENDINGS[kind], receipt.transaction_id)
            self._desk.settle(order.contract_id, ended)
        if self._state(order_id, exit_id) is not ExitState.DONE or order.state is State.SETTLED:
            self._move(order_id, exit_id, ExitDone(receipt.sold_for, receipt.transaction_id))

    def _refused(self, order_id: str, exit_id: str, kind: ExitKind, code: str, message: str) -> None:
        if outcome_of(_CALLS[kind], code, message).certainly_not_executed:
            self._move(order_id, exit_id, Rejected(code, message))
        else:
            self._move_from(ExitState.SENT, order_id, exit_id, Lost(code, message))

    # What nobody carries on, and what is in doubt

    def take_up(self, order: Order, reason: str) -> None:
        """Give exits that nobody carries on a state from which they go on."""
        for one in order.exits:
            if one.state not in DECIDED and (order.order_id, one.exit_id) not in self._tasks:
                self._abandon(order.order_id, one.exit_id, reason)

    def _abandon(self, order_id: str, exit_id: str, reason: str) -> None:
        match self._state(order_id, exit_id):
            case ExitState.INTENDED:
                self._move(order_id, exit_id, Denied("NOT_SENT", f"{reason} before it was sent"))
            case ExitState.SENT:
                self._move(order_id, exit_id, Lost("ABANDONED", f"{reason} before the answer came"))
            case _:
                return

    def due(self, now_ns: int) -> list[str]:
        """The orders whose contract should be looked at now, because an exit's answer was lost."""
        doubtful = {
            order.order_id: one
            for order in self._desk.open.values()
            for one in order.exits
            if one.state is ExitState.UNKNOWN
        }
        for order_id in [order_id for order_id in self._looks if order_id not in doubtful]:
            del self._looks[order_id]
        found = [name for name, one in doubtful.items() if now_ns >= look_ns(one, self._looks.get(name, 0))]
        for order_id in found:
            self._looks[order_id] = self._looks.get(order_id, 0) + 1
        return found

    def looked(self, order_id: str, contract: ContractState, read_ns: int) -> None:
        """What the contract shows, read from ``read_ns`` on; that of an ended one has settled the order already."""
        order = self._desk.open.get(order_id)
        for one in () if order is None else order.exits:
            if one.state is not ExitState.UNKNOWN:
                continue
            if one.terms.limits and all(contract.limits.get(name) == amount for name, amount in one.terms.limits):
                self._move(order_id, one.exit_id, ExitDone())
            elif is_late_enough(one, read_ns):
                self._move(order_id, one.exit_id, ExitNotDone())

    def _state(self, order_id: str, exit_id: str) -> ExitState | None:
        order = self._desk.find(order_id)
        known = None if order is None else exit_of(order.exits, exit_id)
        return None if known is None else known.state

    def _move(self, order_id: str, exit_id: str, event: ExitEvent) -> None:
        order = self._desk.find(order_id)
        # What comes late for a contract that does not exist is no news.
        if order is not None and order.state is not State.UNKNOWN and exit_of(order.exits, exit_id) is not None:
            self._desk.conclude(order, ExitMoved(exit_id, event))

    def _move_from(self, state: ExitState, order_id: str, exit_id: str, event: ExitEvent) -> None:
        """Move an exit, unless the contract's end has decided it already."""
        if self._state(order_id, exit_id) is state:
            self._move(order_id, exit_id, event)


def _lost(error: AnswerLostError) -> ExitEvent:
    if error.handed_over:
        return Lost(error.code, "the answer was lost; the contract will tell")
    return Denied("NOT_SENT", "the socket closed before it was sent")


def _request(contract_id: int, terms: ExitTerms) -> requests.Request:
    match terms.kind:
        case ExitKind.SELL:
            return requests.Sell(sell=contract_id, price=terms.min_price)
        case ExitKind.CANCEL:
            return requests.Cancel(cancel=contract_id)
        case ExitKind.UPDATE:
            change = requests.LimitOrderChange.model_validate(dict(terms.limits))
            return requests.ContractUpdate(contract_id=contract_id, limit_order=change)

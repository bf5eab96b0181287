"""Exits: sales, cancellations and changes of limit orders, each done at most once.

Unlike a purchase an exit can be proved: the contract itself shows whether it was done.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from derivfleet.deriv import requests
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.orders.denials import (
    DeniedError,
    ExitDiffers,
    ExitNotDecided,
    JournalNotWritten,
    OrderNotOpen,
)
from derivfleet.gateway.core.orders.exit import (
    ENDINGS,
    EXIT,
    Exit,
    ExitDone,
    ExitKind,
    ExitState,
    ExitTerms,
    differing_exit_field,
    exit_of,
    fresh_id,
    in_the_way,
)
from derivfleet.gateway.core.orders.order import Order, State
from derivfleet.gateway.core.orders.transitions import ExitAsked, ExitMoved, Settled
from derivfleet.gateway.journal.store import JournalError
from derivfleet.gateway.orders.checks import Asked
from derivfleet.gateway.orders.operations import Operation
from derivfleet.gateway.upstream.pool import ConnectionRole

if TYPE_CHECKING:
    from derivfleet.common.clock import Clock
    from derivfleet.connection.connection import Frame
    from derivfleet.deriv.dialects import Codec
    from derivfleet.deriv.requests import Request
    from derivfleet.gateway.core.orders.exit import ExitEvent
    from derivfleet.gateway.core.orders.operations import Step
    from derivfleet.gateway.orders.checks import Checks
    from derivfleet.gateway.orders.operations import Operations
    from derivfleet.gateway.orders.registry import OrderRegistry

__all__ = ["Exits"]

_CALLS = {ExitKind.SELL: Call.SELL, ExitKind.CANCEL: Call.CANCEL, ExitKind.UPDATE: Call.CONTRACT_UPDATE}


class ExitOperation(Operation[ExitState]):
    """One exit of one order."""

    walk = EXIT
    role = ConnectionRole.EXITS
    who_tells = "the contract"

    def __init__(
        self, registry: OrderRegistry, order: Order, exit_id: str, terms: ExitTerms, codec: Codec, clock: Clock
    ) -> None:
        super().__init__(registry, order, exit_id)
        self._terms = terms
        self._codec = codec
        self._clock = clock

    @property
    def state(self) -> ExitState | None:
        order = self.registry.find(self.key[0])
        # What comes late for a contract that does not exist is no news.
        known = None if order is None or order.state is State.UNKNOWN else exit_of(order.exits, self.key[1])
        return None if known is None else known.state

    def request(self) -> Request:
        contract_id = self.order.contract_id
        match self._terms.kind:
            case ExitKind.SELL:
                return requests.Sell(sell=contract_id, price=self._terms.min_price)
            case ExitKind.CANCEL:
                return requests.Cancel(cancel=contract_id)
            case ExitKind.UPDATE:
                change = requests.LimitOrderChange.model_validate(dict(self._terms.limits))
                return requests.ContractUpdate(contract_id=contract_id, limit_order=change)

    def awaits(self) -> bool:
        return self.state is not None

    def answered(self, frame: Frame) -> None:
        kind = self._terms.kind
        if not kind.ends_contract:
            self._done(ExitDone())
            return
        receipt = self._codec.decode_sell(frame) if kind is ExitKind.SELL else self._codec.decode_cancel(frame)
        order = self._now()
        if order.state is State.CONFIRMED:
            ended = Settled(receipt.sold_for, int(self._clock.now_s()), ENDINGS[kind], receipt.transaction_id)
            self.order = self.registry.move(order, ended)
        if self.state is not ExitState.DONE or order.state is State.SETTLED:
            self._done(ExitDone(receipt.sold_for, receipt.transaction_id))

    def move(self, step: Step) -> None:
        self._done(step)

    def _done(self, event: ExitEvent) -> None:
        if self.state is not None:
            self.order = self.registry.move(self._now(), ExitMoved(self.key[1], event))

    def _now(self) -> Order:
        return self.registry.find(self.key[0]) or self.order


class Exits:
    """The exits of one account's orders."""

    def __init__(
        self, registry: OrderRegistry, checks: Checks, operations: Operations, clock: Clock, codec: Codec
    ) -> None:
        self._registry = registry
        self._checks = checks
        self._operations = operations
        self._clock = clock
        self._codec = codec

    async def carry_out(
        self, order: Order, exit_id: str, terms: ExitTerms, deadline_ns: int, traceparent: str
    ) -> tuple[Order, Exit]:
        """Do something to the contract of a confirmed order, once; returns the order and the exit as far as known.

        The same id gets the same exit. Without an id it is the one under way if that is the same, else a new one.
        Raises DeniedError if it is not taken. Nothing is written down then, and asking again is safe.
        """
        order_id = order.order_id
        try:
            order = self._registry.find(order_id) or order
            known = self._known(order, exit_id, terms) or self._started(order, exit_id, terms, deadline_ns, traceparent)
        except JournalError as error:
            raise DeniedError(JournalNotWritten(str(error))) from None
        task = self._operations.under_way((order_id, known.exit_id))
        if task is not None:
            await asyncio.shield(task)
        order = self._registry.find(order_id) or order
        return order, exit_of(order.exits, known.exit_id) or known

    def _known(self, order: Order, exit_id: str, terms: ExitTerms) -> Exit | None:
        """The exit that is asked for again; None if it is a new one, and that may be."""
        blocking = in_the_way(order.exits, terms.kind)
        known = exit_of(order.exits, exit_id) if exit_id else blocking
        if known is not None:
            field = differing_exit_field(known, terms)
            if field is None:
                return known
            if exit_id:
                raise DeniedError(ExitDiffers(exit_id, field=field))
        if order.state is not State.CONFIRMED:
            raise DeniedError(OrderNotOpen(order.order_id, order.state, "its contract is not open"))
        if blocking is not None:
            raise DeniedError(ExitNotDecided(order.order_id, blocking.exit_id, blocking.state))
        return None

    def _started(self, order: Order, exit_id: str, terms: ExitTerms, deadline_ns: int, traceparent: str) -> Exit:
        asked = Asked(order.order_id, order.bot, _CALLS[terms.kind], deadline_ns)
        self._checks.take(asked)
        exit_id = exit_id or fresh_id(order.exits, terms.kind)
        try:
            order = self._registry.move(order, ExitAsked(exit_id, terms))
        except BaseException:
            self._checks.ended(asked, None)
            raise
        operation = ExitOperation(self._registry, order, exit_id, terms, self._codec, self._clock)
        self._operations.start(operation, asked, traceparent)
        return order.exits[-1]

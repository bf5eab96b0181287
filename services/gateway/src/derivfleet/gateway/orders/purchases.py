"""Purchases: each order is bought at most once, under its own id."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.orders.denials import DeniedError, JournalNotWritten, OrderDiffers
from derivfleet.gateway.core.orders.order import PURCHASE, Order, OrderTerms, State, differing_field
from derivfleet.gateway.journal.store import JournalError
from derivfleet.gateway.orders import mapping
from derivfleet.gateway.orders.checks import Asked, Opening
from derivfleet.gateway.orders.operations import Ended, Operation
from derivfleet.gateway.upstream.pool import ConnectionRole

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.common.clock import Clock
    from derivfleet.connection.connection import Frame
    from derivfleet.deriv.dialects import Codec
    from derivfleet.deriv.requests import Request
    from derivfleet.gateway.core.orders.denials import Denial
    from derivfleet.gateway.core.orders.operations import Step
    from derivfleet.gateway.orders.checks import Checks
    from derivfleet.gateway.orders.operations import Operations
    from derivfleet.gateway.orders.registry import OrderRegistry

__all__ = ["Purchases"]


class Purchase(Operation[State]):
    """The purchase of one order."""

    walk = PURCHASE
    role = ConnectionRole.ORDERS
    who_tells = "the account's records"

    def __init__(self, registry: OrderRegistry, order: Order, codec: Codec, currency: str) -> None:
        super().__init__(registry, order)
        self._codec = codec
        self._currency = currency

    @property
    def state(self) -> State | None:
        order = self.registry.find(self.order.order_id)
        return None if order is None else order.state

    def request(self) -> Request:
        return mapping.purchase(self.order.terms, self._currency)

    def awaits(self) -> bool:
        return self.state in (State.UNKNOWN, State.NOT_FOUND)

    def answered(self, frame: Frame) -> None:
        receipt = mapping.confirmed(self._codec.decode_buy(frame))
        self.order = self.registry.confirm(self._now(), receipt)

    def move(self, step: Step) -> None:
        self.order = self.registry.move(self._now(), step)

    def _now(self) -> Order:
        return self.registry.find(self.order.order_id) or self.order


class Purchases:
    """The purchases of one account."""

    def __init__(
        self, registry: OrderRegistry, checks: Checks, operations: Operations, clock: Clock, codec: Codec, currency: str
    ) -> None:
        self._registry = registry
        self._checks = checks
        self._operations = operations
        self._clock = clock
        self._operation = partial(Purchase, registry, codec=codec, currency=currency)

    async def buy(
        self,
        bot: str,
        order_id: str,
        terms: OrderTerms,
        deadline_ns: int,
        traceparent: str,
        has_lease: Callable[[], bool],
    ) -> tuple[Order, Denial | None]:
        """Buy once; returns the order as far as it is known, and why it was not sent if that was decided now.

        ``has_lease`` tells whether the asking replica holds the symbol; it is asked again right before the sending.
        Raises DeniedError if it is not taken. Nothing is written down then, and asking again with the same id is safe.
        """
        try:
            known = self._registry.find(order_id)
            if known is not None and (field := differing_field(known, bot, terms)) is not None:
                raise DeniedError(OrderDiffers(order_id, field=field))
            task = self._operations.under_way((order_id, ""))
            if task is None:
                if known is not None:
                    return known, None
                asked = Asked(order_id, bot, Call.BUY, deadline_ns, Opening(terms, has_lease))
                task = self._started(asked, terms, traceparent)
        except JournalError as error:
            raise DeniedError(JournalNotWritten(str(error))) from None
        return await asyncio.shield(task)

    def _started(self, asked: Asked, terms: OrderTerms, traceparent: str) -> asyncio.Task[Ended]:
        self._checks.take(asked)
        order = Order(
            account=self._registry.account,
            order_id=asked.order_id,
            bot=asked.bot,
            terms=terms,
            state=State.INTENDED,
            intended_time_ns=self._clock.now_ns(),
            traceparent=traceparent,
        )
        try:
            self._registry.add(order)
        except BaseException:
            self._checks.ended(asked, None)
            raise
        return self._operations.start(self._operation(order), asked, traceparent)

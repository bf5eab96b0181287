"""Carries calls with money through, each once: purchases and exits alike.

Each runs in a task of its own: the caller may give up waiting, the operation goes on.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import structlog

from derivfleet.common.telemetry import context_from
from derivfleet.connection.connection import AnswerLostError, CallRefusedError
from derivfleet.deriv.errors import MalformedAnswer
from derivfleet.gateway.core.orders.denials import DeniedError, JournalNotWritten
from derivfleet.gateway.core.orders.exit import EXIT
from derivfleet.gateway.core.orders.operations import Denied, Lost, Sent
from derivfleet.gateway.core.orders.order import PURCHASE
from derivfleet.gateway.core.orders.transitions import ExitMoved
from derivfleet.gateway.journal.store import JournalError

if TYPE_CHECKING:
    from derivfleet.connection.connection import Frame
    from derivfleet.deriv.requests import Request
    from derivfleet.deriv.vocabulary import Call
    from derivfleet.gateway.core.orders.clock_skew import Skew
    from derivfleet.gateway.core.orders.denials import Denial
    from derivfleet.gateway.core.orders.operations import Step, Walk
    from derivfleet.gateway.core.orders.order import Order
    from derivfleet.gateway.orders.checks import Asked, Checks
    from derivfleet.gateway.orders.registry import OrderRegistry
    from derivfleet.gateway.upstream.client import AccountClient
    from derivfleet.gateway.upstream.pool import ConnectionRole

__all__ = ["Ended", "Operation", "Operations"]

_log = structlog.get_logger()

CLOSE_TIMEOUT_WALL_S = 0.5
Key = tuple[str, str]
"""Order id and exit id; the latter is empty for the purchase."""
Ended = tuple["Order", "Denial | None"]
"""The order after an operation, and why that was not sent."""


StateT = TypeVar("StateT", bound=StrEnum)


class _DecidedError(Exception):
    """It was decided while it waited for its turn, as by the end of its contract."""


class Operation(ABC, Generic[StateT]):
    """One call with money, and what its outcome means for the order that it is about."""

    walk: ClassVar[Walk[Any]]
    role: ClassVar[ConnectionRole]
    who_tells: ClassVar[str]
    """What shows whether it was done, if its answer is lost."""

    def __init__(self, registry: OrderRegistry, order: Order, exit_id: str = "") -> None:
        self.registry = registry
        self.order = order
        """As it was after the last step."""
        self.key: Key = (order.order_id, exit_id)

    @property
    @abstractmethod
    def state(self) -> StateT | None:
        """Where it stands now; None if that is nobody's business any more."""

    @abstractmethod
    def request(self) -> Request:
        """What Deriv is asked."""

    @abstractmethod
    def awaits(self) -> bool:
        """Whether a late answer is still news."""

    @abstractmethod
    def answered(self, frame: Frame) -> None:
        """Deriv has done it. Raises MalformedAnswer if nobody can read what."""

    @abstractmethod
    def move(self, step: Step) -> None:
        """Take a step that the state allows."""

    def step(self, step: Step | None) -> None:
        """Take a step if there is one, and if the state allows it."""
        state = self.state
        if step is not None and state is not None and self.walk.allows(state, step):
            self.move(step)


class Operations:
    """The operations of one account that are under way."""

    def __init__(self, client: AccountClient, registry: OrderRegistry, checks: Checks, skew: Skew) -> None:
        self._client = client
        self._registry = registry
        self._checks = checks
        self._skew = skew
        self._codec = client.pool.login.codec
        self._tasks: dict[Key, asyncio.Task[Ended]] = {}

    def under_way(self, key: Key) -> asyncio.Task[Ended] | None:
        """The task that carries an operation through."""
        return self._tasks.get(key)

    def start(self, operation: Operation[Any], asked: Asked, traceparent: str) -> asyncio.Task[Ended]:
        """Carry an operation through that has been written down."""
        key = operation.key
        work = self._carried_through(operation, asked, traceparent)
        task = self._tasks[key] = asyncio.create_task(work, name=f"{asked.call} {' '.join(key)}")
        # Not at the end of the work: a task that is cancelled before its first step never enters it.
        task.add_done_callback(lambda _: (self._tasks.pop(key, None), self._checks.ended(asked, operation.order)))
        return task

    async def _carried_through(self, operation: Operation[Any], asked: Asked, traceparent: str) -> Ended:
        """Whatever happens, it ends in a state from which one can go on."""
        try:
            await self._attempt(operation, asked, traceparent)
        except asyncio.CancelledError:
            self._abandon(operation, "the gateway ended")
        except Exception:  # noqa: BLE001 - money may be on its way, so whatever it was, the order must go on
            _log.exception("an operation failed in an unforeseen way", key=operation.key, trace=traceparent)
            self._abandon(operation, "the gateway failed")
        return operation.order, asked.denial

    async def _attempt(self, operation: Operation[Any], asked: Asked, traceparent: str) -> None:
        try:
            if asked.denial is not None:
                raise DeniedError(asked.denial)  # noqa: TRY301 - as one that is found later
            frame = await self._client.call(
                asked.bot,
                operation.request(),
                operation.role,
                asked.deadline_ns,
                context_from([("traceparent", traceparent)]),
                partial(self._sending, operation, asked),
                partial(self._late, operation, asked.call),
                asked=asked.permit,
            )
        except _DecidedError:
            return
        except (DeniedError, JournalError) as error:
            asked.denial = error.denial if isinstance(error, DeniedError) else JournalNotWritten(str(error))
            operation.step(Denied(asked.denial.code, str(asked.denial)))
        except CallRefusedError as error:
            self._refused(operation, asked.call, error.code, error.message)
        except AnswerLostError as error:
            asked.lost_with = error.connection
            operation.step(operation.walk.unanswered(error.code, error.handed_over, operation.who_tells))
        else:
            self._answered(operation, frame)

    def _sending(self, operation: Operation[Any], asked: Asked) -> None:
        if operation.state is not operation.walk.written:
            raise _DecidedError
        denial = self._checks.sending(asked)
        if denial is not None:
            raise DeniedError(denial)
        operation.step(Sent(self._skew.ahead_ns(self._client.clock.now_ns())))

    def _late(self, operation: Operation[Any], call: Call, frame: Frame) -> None:
        """The answer to an operation that was given up: as good as any, if nothing else has told what became of it."""
        if not operation.awaits():
            return
        order_id, exit_id = operation.key
        _log.info("late answer", order_id=order_id, exit_id=exit_id or None, trace_id=operation.order.trace_id)
        error = self._codec.decode_error(frame)
        if error is None:
            self._answered(operation, frame)
        else:
            self._refused(operation, call, error.code, error.message)

    def _answered(self, operation: Operation[Any], frame: Frame) -> None:
        try:
            operation.answered(frame)
        except MalformedAnswer as error:
            # Such an answer may stand for a deed. If it comes late, it is unknown already.
            operation.step(Lost("MalformedAnswer", str(error)))

    def _refused(self, operation: Operation[Any], call: Call, code: str, message: str) -> None:
        operation.step(operation.walk.refused(operation.state, call, code, message))

    def _abandon(self, operation: Operation[Any], reason: str) -> None:
        operation.step(operation.walk.abandoned(operation.state, reason))

    # What nobody carries on

    def take_up(self, order: Order, reason: str) -> None:
        """Give what nobody carries on a state from which it goes on: the purchase and the exits of an open order."""
        if (order.order_id, "") not in self._tasks and (step := PURCHASE.abandoned(order.state, reason)) is not None:
            order = self._registry.move(order, step)
        for one in order.exits:
            step = EXIT.abandoned(one.state, reason)
            if step is not None and (order.order_id, one.exit_id) not in self._tasks:
                order = self._registry.move(order, ExitMoved(one.exit_id, step))

    def take_up_stranded(self) -> None:
        """Take up what has ended without a word."""
        for order in list(self._registry.open.values()):
            self.take_up(order, "the gateway failed")

    async def drain(self, timeout_s: float) -> None:
        """Deny the purchases that wait for a turn, and wait a while (fleet time) for everything else under way."""
        for (order_id, exit_id), task in self._tasks.items():
            order = self._registry.open.get(order_id)  # None: it has just ended
            if not exit_id and order is not None and order.state is PURCHASE.written:
                task.cancel()
        await self._ended(self._client.clock.wall_s(timeout_s))

    async def close(self) -> None:
        """See the last calls end, when the sockets are closed. What is still open then, the next start takes up."""
        await self._ended(CLOSE_TIMEOUT_WALL_S)

    async def _ended(self, timeout_wall_s: float) -> None:
        if self._tasks:
            await asyncio.wait(list(self._tasks.values()), timeout=timeout_wall_s)

"""A bot's call as every method sees it: who calls about what, until when, under which span, and how it ends badly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

import grpc
import structlog

from derivfleet.common.rpc.identity import caller
from derivfleet.common.rpc.status import Problem, ProblemError, abort
from derivfleet.common.spans import Attribute, SpanName
from derivfleet.common.telemetry import context_from
from derivfleet.connection.connection import AnswerLostError
from derivfleet.gateway.core.orders.denials import DeniedError
from derivfleet.gateway.journal.store import JournalError
from derivfleet.gateway.rpc import errors, messages

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from derivfleet.common.clock import Clock
    from derivfleet.common.telemetry import Telemetry
    from derivfleet.gateway.account.account import AccountRoom

__all__ = ["Context", "Reception", "Visit"]

_log = structlog.get_logger()
Context = grpc.aio.ServicerContext[Any, Any]
DEFAULT_DEADLINE_S = 30.0
"""For callers who set none."""


@dataclass(frozen=True, slots=True)
class Reception:
    """What every call meets first."""

    rooms: Mapping[str, AccountRoom]
    clock: Clock
    telemetry: Telemetry

    def room(self, account: str, bot: str) -> AccountRoom:
        """The account, if the bot trades on it. Raises ProblemError."""
        room = self.rooms.get(account)
        if room is None:
            raise messages.invalid("account", f"unknown account {account[:40]!r}; known are {', '.join(self.rooms)}")
        if bot not in room.bots:
            code = grpc.StatusCode.PERMISSION_DENIED
            raise ProblemError(Problem(code, "BOT_UNKNOWN", f"bot {bot} is not in the fleet file of {account}"))
        return room


class Visit:
    """One call: who, about which account, until when. As a block it turns every foreseen error into a status.

    It is around every call, also the cheapest, so it is a plain object: a generator made into a context manager takes
    three times as long.
    """

    __slots__ = ("_account", "_context", "_name", "_reception", "about", "bot", "deadline_ns", "room", "span")

    room: AccountRoom

    def __init__(
        self,
        reception: Reception,
        name: SpanName,
        account: str,
        context: Context,
        attributes: Mapping[Attribute, str],
    ) -> None:
        clock = reception.clock
        self._reception = reception
        self._name = name
        self._account = account
        self._context = context
        self.about: Mapping[str, str] = {}
        """The ids of what the call is about, by their names."""
        self.bot = caller().name
        self.span = reception.telemetry.start(
            name,
            {Attribute.ACCOUNT: account[:40], Attribute.BOT: self.bot, **attributes},
            context_from(context.invocation_metadata()),
        )
        left_s = cast("float | None", context.time_remaining())  # its stub forgets the None of a call without deadline
        left_fleet_s = DEFAULT_DEADLINE_S if left_s is None else clock.fleet_s(left_s)
        self.deadline_ns = clock.now_ns() + round(left_fleet_s * 1e9)

    @property
    def what(self) -> str:
        """What the call is about, in words."""
        order = f"order {self.about.get('order_id', '')}"
        return f"exit {self.about['exit_id']} of {order}" if "exit_id" in self.about else order

    async def __aenter__(self) -> Self:
        """Aborts the call if the bot has no place in the account."""
        try:
            self.room = self._reception.room(self._account, self.bot)
        except ProblemError as error:
            await self._fail(error.problem.reason, error.problem)
        self.room.orders.tallies.called(self.bot, self._reception.clock.now_ns())
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _where: TracebackType | None
    ) -> None:
        match error:
            case None:
                self.span.end()
            case ProblemError():
                await self._fail(error.problem.reason, error.problem)
            case DeniedError():
                problem = errors.denied(error.denial, self._reception.clock, self.what, self.about)
                await self._fail(problem.reason, problem)
            case AnswerLostError():
                message = f"Deriv's answer was lost ({error})"
                problem = Problem(grpc.StatusCode.UNAVAILABLE, "ANSWER_LOST", message, retry_after_s=1.0)
                await self._fail(error.code, problem)
            case JournalError():
                await self._fail("JOURNAL_NOT_READ", errors.journal_not_read(error))
            case Exception():
                # The caller gets one line, the log the traceback.
                _log.error("a call failed in an unforeseen way", bot=self.bot, call=self._name, exc_info=error)
                message = "the gateway failed: its log says why"
                problem = Problem(grpc.StatusCode.INTERNAL, "GATEWAY_FAILED", message, retry_after_s=1.0)
                await self._fail(type(error).__name__, problem)
            case _:
                self.span.end()

    async def _fail(self, code: str, problem: Problem) -> NoReturn:
        self.span.fail(code, problem.message)
        self.span.end()
        await abort(self._context, problem)

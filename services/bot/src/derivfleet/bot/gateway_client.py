"""The gateway as a bot sees it: a thin client over TradingService that speaks in the bot's own words."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, TypeVar

import grpc

from derivfleet.bot.core.trades import CallFailure, FailureKind, Holding, Intention, OrderNews
from derivfleet.bot.staking import money_text
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.order_state import OrderState
from derivfleet.common.rpc.channel import open_channel
from derivfleet.common.rpc.status import problem_of
from derivfleet.common.telemetry import metadata_of
from derivfleet.deriv.ticks import Tick
from derivfleet.deriv.vocabulary import DurationUnit
from derivfleet.v1 import orders_pb2, trading_pb2
from derivfleet.v1.trading_pb2_grpc import TradingServiceStub

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from opentelemetry.context import Context

    from derivfleet.common.clock import Clock
    from derivfleet.common.rpc.own_token import OwnToken
    from derivfleet.common.rpc.status import Problem
    from derivfleet.v1 import market_pb2

__all__ = ["BUY_DEADLINE_S", "CallFailedError", "GatewayClient"]

Q = TypeVar("Q")
M = TypeVar("M")
V = TypeVar("V")
BUY_DEADLINE_S = 5.0
CHECK_DEADLINE_S = 5.0
HISTORY_DEADLINE_S = 15.0
RENEW_DEADLINE_S = 1.0

_Code = grpc.StatusCode
_DENIES_ACCESS = frozenset({_Code.UNAUTHENTICATED, _Code.PERMISSION_DENIED})
_SAYS_NO = frozenset({_Code.FAILED_PRECONDITION, _Code.INVALID_ARGUMENT, _Code.OUT_OF_RANGE, _Code.UNIMPLEMENTED})
_STATES = {
    orders_pb2.ORDER_STATE_INTENDED: OrderState.INTENDED,
    orders_pb2.ORDER_STATE_DENIED: OrderState.DENIED,
    orders_pb2.ORDER_STATE_SENT: OrderState.SENT,
    orders_pb2.ORDER_STATE_CONFIRMED: OrderState.CONFIRMED,
    orders_pb2.ORDER_STATE_REJECTED: OrderState.REJECTED,
    orders_pb2.ORDER_STATE_UNKNOWN: OrderState.UNKNOWN,
    orders_pb2.ORDER_STATE_NOT_FOUND: OrderState.NOT_FOUND,
    orders_pb2.ORDER_STATE_SETTLED: OrderState.SETTLED,
}


class CallFailedError(Exception):
    """A call failed; ``failure`` says what that means."""

    def __init__(self, failure: CallFailure) -> None:
        super().__init__(f"{failure.code}: {failure.message}")
        self.failure = failure


class GatewayClient:
    """One bot's view of one account. Deadlines and waits are fleet time.

    Every call raises CallFailedError if it failed, and ConfigurationError if the failure is one that only a person can
    mend: the token (any call), or a symbol or account that the gateway does not take (History and the streams).
    """

    def __init__(self, target: str, token: OwnToken, bot: str, replica: str, account: str, clock: Clock) -> None:
        self._target = target
        self._bot = bot
        self._replica = replica
        self._account = account
        self._clock = clock
        self._token = token
        self._channel = open_channel(target)
        self._stub = TradingServiceStub(self._channel)

    async def close(self) -> None:
        await self._channel.close()

    async def buy(self, intention: Intention, context: Context) -> OrderNews:
        """Ask for an order; its id makes asking twice harmless. ``context`` carries the trace to the gateway."""
        decision = intention.decision
        request = trading_pb2.BuyRequest(
            account=self._account,
            order_id=intention.order_id,
            terms=orders_pb2.ContractTerms(
                contract_type=decision.contract_type,
                symbol=intention.symbol,
                stake=money_text(intention.stake),
                duration=decision.duration_ticks,
                duration_unit=DurationUnit.TICKS,
                barrier=decision.barrier or "",
            ),
            replica=self._replica,
            lease_epoch=intention.lease_epoch,
        )
        timeout = self._clock.wall_s(BUY_DEADLINE_S)
        try:
            answer = await self._stub.Buy(
                request, timeout=timeout, metadata=(*self._token.metadata, *metadata_of(context))
            )
        except grpc.aio.AioRpcError as error:
            raise self._failure(error, order=True) from None
        return _news(answer.order)

    async def check(self, order_id: str) -> OrderNews:
        """Where an order stands, from the gateway's own records."""
        request = trading_pb2.CheckRequest(account=self._account, order_id=order_id)
        timeout = self._clock.wall_s(CHECK_DEADLINE_S)
        try:
            answer = await self._stub.Check(request, timeout=timeout, metadata=self._token.metadata)
        except grpc.aio.AioRpcError as error:
            raise self._failure(error, order=True) from None
        return _news(answer.order)

    async def renew(self, *, leaving: bool = False) -> dict[str, Holding]:
        """Say that this replica lives (or leaves); returns which symbols are its to trade, and until when."""
        request = trading_pb2.RenewLeasesRequest(account=self._account, replica=self._replica, leaving=leaving)
        # Counted from the sending: so a holding ends here before it can begin elsewhere.
        asked_ns = self._clock.now_ns()
        timeout = max(self._clock.wall_s(RENEW_DEADLINE_S), RENEW_DEADLINE_S)
        try:
            answer = await self._stub.RenewLeases(request, timeout=timeout, metadata=self._token.metadata)
        except grpc.aio.AioRpcError as error:
            raise self._failure(error, order=False) from None
        return {lease.symbol: Holding(lease.epoch, asked_ns + lease.lasts_ns) for lease in answer.leases}

    async def history(self, symbol: str, count: int) -> list[Tick]:
        """The latest ticks of a symbol, oldest first."""
        request = trading_pb2.HistoryRequest(account=self._account, symbol=symbol, count=count)
        timeout = self._clock.wall_s(HISTORY_DEADLINE_S)
        try:
            answer = await self._stub.History(request, timeout=timeout, metadata=self._token.metadata)
        except grpc.aio.AioRpcError as error:
            raise self._failure(error, order=False) from None
        return [_tick(tick) for tick in answer.ticks]

    def ticks(self, symbols: Sequence[str]) -> AbstractAsyncContextManager[AsyncIterator[Tick]]:
        """Ticks as they come. The call is under way when the block begins; what comes early waits for the reader."""
        request = trading_pb2.StreamTicksRequest(account=self._account, symbols=symbols)
        call = self._stub.StreamTicks(request, metadata=self._token.metadata)
        return self._read(call, lambda message: _tick(message.tick))

    def orders(self) -> AbstractAsyncContextManager[AsyncIterator[OrderNews | None]]:
        """Transitions of the bot's orders; None tells that the stream stands and misses nothing from here on."""
        request = trading_pb2.StreamOrdersRequest(account=self._account)
        call = self._stub.StreamOrders(request, metadata=self._token.metadata)
        return self._read(call, lambda message: _news(message.event.order) if message.HasField("event") else None)

    @asynccontextmanager
    async def _read(
        self, call: grpc.aio.UnaryStreamCall[Q, M], convert: Callable[[M], V]
    ) -> AsyncGenerator[AsyncIterator[V], None]:
        """What a stream says, until the block ends."""

        async def read() -> AsyncGenerator[V, None]:
            try:
                async for message in call:
                    yield convert(message)
            except grpc.aio.AioRpcError as error:
                raise self._failure(error, order=False) from None

        async with aclosing(read()) as reader:
            try:
                yield reader
            finally:
                call.cancel()

    def _failure(self, error: grpc.aio.AioRpcError, *, order: bool) -> Exception:
        problem = problem_of(error)
        if problem.code in _DENIES_ACCESS:
            return ConfigurationError(
                f"{self._bot}: DERIVFLEET_BOT_TOKEN_FILE",
                f"the gateway at {self._target} refuses this bot's token: {problem.reason}: {problem.message}",
            )
        if not order and problem.code in (_Code.INVALID_ARGUMENT, _Code.NOT_FOUND):
            return ConfigurationError(
                f"{self._bot}: {problem.field or 'DERIVFLEET_BOT_FLEET'}",
                f"the gateway at {self._target} does not take it: {problem.reason}: {problem.message}",
            )
        retry_after_s = 0.0 if problem.retry_after_s is None else self._clock.fleet_s(problem.retry_after_s)
        return CallFailedError(CallFailure(_meaning(problem), problem.reason, problem.message, retry_after_s))


def _meaning(problem: Problem) -> FailureKind:
    """Only an explicit no is a no: every other code leaves open whether the order was bought.

    ``final`` in the error's metadata is the gateway's word that the order is denied for good.
    """
    if problem.code is _Code.RESOURCE_EXHAUSTED:
        return FailureKind.LIMIT
    if problem.code is _Code.NOT_FOUND:
        return FailureKind.ABSENT
    is_no = problem.code in _SAYS_NO or problem.metadata.get("final") == "true"
    return FailureKind.NO if is_no else FailureKind.SILENCE


def _tick(tick: market_pb2.Tick) -> Tick:
    return Tick(tick.symbol, tick.epoch_s, Decimal(tick.quote), tick.pip_decimals)


def _news(order: orders_pb2.Order) -> OrderNews:
    try:
        profit = Decimal(order.profit) if order.profit else None
    except InvalidOperation:
        profit = None
    return OrderNews(
        order_id=order.order_id,
        # A state that this bot does not know yet is not final to it: it goes on following.
        state=_STATES.get(order.state, OrderState.UNKNOWN),
        contract_id=order.contract_id,
        profit=profit,
        error_code=order.error_code,
        error_message=order.error_message,
    )

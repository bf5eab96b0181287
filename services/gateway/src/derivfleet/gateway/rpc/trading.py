"""Trading for bots over gRPC. The bot is the bearer of the token, never a field."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import grpc
import structlog

from derivfleet.common.rpc.identity import caller
from derivfleet.common.rpc.status import Problem, ProblemError, abort
from derivfleet.common.spans import Attribute, SpanName
from derivfleet.common.telemetry import context_from, metadata_of
from derivfleet.deriv.requests import GRANULARITIES_S
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.collapse import Asked
from derivfleet.gateway.core.orders import Order, State
from derivfleet.gateway.journal.sqlite import JournalError
from derivfleet.gateway.refusals import DeskClosedError, DifferentOrderError, LeaseLostError, SellRefusedError
from derivfleet.gateway.rpc import messages, problems, quota
from derivfleet.gateway.upstream.connection import AnswerLostError, CallRefusedError
from derivfleet.gateway.upstream.line import TurnRefusedError
from derivfleet.v1 import quota_pb2, trading_pb2, trading_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping

    from derivfleet.common.clock import Clock
    from derivfleet.common.telemetry import OpenSpan, Telemetry
    from derivfleet.deriv.answers import ContractState
    from derivfleet.gateway.accounts import AccountRoom

__all__ = ["TradingServicer"]

_log = structlog.get_logger()
Context = grpc.aio.ServicerContext[Any, Any]
DEFAULT_DEADLINE_S = 30.0
"""For callers who set none."""
MOST_TICKS = 5000
"""Deriv's own cap."""
MOST_SYMBOLS = 50
"""Half of what one socket may stream; opening streams is counted on the whole account."""
LAST_EPOCH_S = 9_999_999_999


@dataclass(frozen=True, slots=True)
class _Visit:
    """One call: who, about which account, until when."""

    bot: str
    room: AccountRoom
    span: OpenSpan
    deadline_ns: int

    @property
    def trace(self) -> Mapping[str, str]:
        """The trace context under which the call's work is done."""
        return dict(metadata_of(self.span.context))


class TradingServicer(trading_pb2_grpc.TradingServiceServicer):
    """Every method: check, ask the account's room, answer or explain."""

    def __init__(self, rooms: Mapping[str, AccountRoom], clock: Clock, telemetry: Telemetry) -> None:
        self._rooms = rooms
        self._clock = clock
        self._telemetry = telemetry

    async def Buy(self, request: trading_pb2.BuyRequest, context: Context) -> trading_pb2.BuyResponse:  # noqa: N802
        attributes = {
            Attribute.ORDER_ID: request.order_id[:64],
            Attribute.SYMBOL: request.terms.symbol[:30],
            Attribute.CONTRACT_TYPE: request.terms.contract_type[:30],
        }
        async with self._visit(SpanName.GATEWAY_BUY, request.account, context, attributes) as visit:
            order_id = messages.check_order_id(request.order_id)
            terms = messages.terms_of(request.terms)
            desk = visit.room.desk
            try:
                order, refused_wait_ns = await desk.buy(
                    visit.bot,
                    order_id,
                    terms,
                    visit.deadline_ns,
                    visit.trace,
                    lambda: self._has_lease(visit, terms.symbol, request.replica, request.lease_epoch),
                )
            except LeaseLostError as error:
                raise ProblemError(problems.lease_lost(str(error))) from None
            except DifferentOrderError as error:
                code = grpc.StatusCode.FAILED_PRECONDITION
                problem = Problem(code, "ORDER_DIFFERS", str(error), field=f"terms.{error.field}")
                raise ProblemError(problem) from None
            except (DeskClosedError, JournalError) as error:
                reason = "GATEWAY_ENDING" if isinstance(error, DeskClosedError) else "JOURNAL_NOT_WRITTEN"
                problem = Problem(grpc.StatusCode.UNAVAILABLE, reason, str(error), retry_after_s=2.0)
                raise ProblemError(problem) from None
            visit.span.set({Attribute.STATE: order.state})
            if order.state is State.DENIED:
                raise ProblemError(problems.denied(order, visit.room.key, refused_wait_ns, self._clock))
            if order.error_code:
                visit.span.fail(order.error_code, order.error_message)
            waited_ms = max(0, order.sent_time_ns - order.intended_time_ns) // 10**6
            return trading_pb2.BuyResponse(
                order=messages.order_message(order), forecast=self._forecast(visit, Call.BUY, waited_ms)
            )
        raise AssertionError("a visit answers or aborts")

    async def Sell(self, request: trading_pb2.SellRequest, context: Context) -> trading_pb2.SellResponse:  # noqa: N802
        attributes = {Attribute.ORDER_ID: request.order_id[:64]}
        async with self._visit(SpanName.GATEWAY_SELL, request.account, context, attributes) as visit:
            order = self._own_order(visit, request.order_id)
            min_price = messages.amount_of("min_price", request.min_price or "0")
            if min_price < 0:
                raise messages.invalid("min_price", "must not be negative")
            try:
                order = await visit.room.desk.sell(order, min_price, visit.deadline_ns, visit.trace)
            except SellRefusedError as error:
                problem = Problem(grpc.StatusCode.FAILED_PRECONDITION, error.code, str(error))
                raise ProblemError(problem) from None
            visit.span.set({Attribute.STATE: order.state})
            return trading_pb2.SellResponse(
                order=messages.order_message(order), forecast=self._forecast(visit, Call.SELL, 0)
            )
        raise AssertionError("a visit answers or aborts")

    async def Check(self, request: trading_pb2.CheckRequest, context: Context) -> trading_pb2.CheckResponse:  # noqa: N802
        attributes = {Attribute.ORDER_ID: request.order_id[:64]}
        async with self._visit(SpanName.GATEWAY_CHECK, request.account, context, attributes) as visit:
            order = self._own_order(visit, request.order_id)
            if not request.live:
                return trading_pb2.CheckResponse(order=messages.order_message(order))
            contract = await self._live_contract(visit, order)
            visit.room.desk.on_contract(order, contract)
            order = self._own_order(visit, request.order_id)
            return trading_pb2.CheckResponse(
                order=messages.order_message(order),
                contract=messages.contract_message(visit.room.key, contract),
            )
        raise AssertionError("a visit answers or aborts")

    async def History(  # noqa: N802
        self, request: trading_pb2.HistoryRequest, context: Context
    ) -> trading_pb2.HistoryResponse:
        attributes = {Attribute.SYMBOL: request.symbol[:30]}
        async with self._visit(SpanName.GATEWAY_HISTORY, request.account, context, attributes) as visit:
            if not 1 <= request.count <= MOST_TICKS:
                raise messages.invalid("count", f"must be 1 to {MOST_TICKS}, not {request.count}")
            if request.granularity_s and request.granularity_s not in GRANULARITIES_S:
                raise messages.invalid("granularity_s", f"must be 0 or one of {', '.join(map(str, GRANULARITIES_S))}")
            messages.check_symbol("symbol", request.symbol)
            if not 0 <= request.end_epoch_s <= LAST_EPOCH_S:
                raise messages.invalid("end_epoch_s", f"must be 0 (the latest) to {LAST_EPOCH_S}")
            return await self._history(visit, request)
        raise AssertionError("a visit answers or aborts")

    async def RenewLeases(  # noqa: N802
        self, request: trading_pb2.RenewLeasesRequest, context: Context
    ) -> trading_pb2.RenewLeasesResponse:
        # Not traced: it comes every second from every replica and says nothing about a trade.
        try:
            bot = caller().name
            leases = self._room(request.account, bot).leases[bot]
            replica = messages.check_replica(request.replica)
        except ProblemError as error:
            await abort(context, error.problem)
        now_ns = self._clock.now_ns()
        if request.leaving:
            leases.leave(replica, now_ns)
            return trading_pb2.RenewLeasesResponse(replicas=len(leases.replicas))
        granted = leases.renew(replica, now_ns)
        return trading_pb2.RenewLeasesResponse(
            leases=[
                trading_pb2.Lease(symbol=lease.symbol, epoch=lease.epoch, lasts_ns=lease.expires_ns - now_ns)
                for lease in granted
            ],
            replicas=len(leases.replicas),
        )

    async def GetQuota(  # noqa: N802
        self, request: trading_pb2.GetQuotaRequest, context: Context
    ) -> trading_pb2.GetQuotaResponse:
        async with self._visit(SpanName.GATEWAY_QUOTA, request.account, context, {}) as visit:
            now_ns = self._clock.now_ns()
            return trading_pb2.GetQuotaResponse(
                windows=quota.window_messages(visit.room.schedule, now_ns),
                shares=quota.share_messages(visit.room.schedule, now_ns, visit.bot),
                calls_saved=quota.saved_messages(visit.room.savings.counts),
                next_calls=quota.next_call_messages(visit.room.schedule, (visit.bot,), now_ns),
            )
        raise AssertionError("a visit answers or aborts")

    async def StreamTicks(  # noqa: N802
        self, request: trading_pb2.StreamTicksRequest, context: Context
    ) -> AsyncIterator[trading_pb2.StreamTicksResponse]:
        async with self._visit(SpanName.GATEWAY_STREAM, request.account, context, {}) as visit:
            symbols = list(dict.fromkeys(request.symbols))
            if not 1 <= len(symbols) <= MOST_SYMBOLS:
                raise messages.invalid("symbols", f"must name 1 to {MOST_SYMBOLS} symbols")
            for symbol in symbols:
                messages.check_symbol("symbols", symbol)
            with visit.room.feeds.ticks(symbols) as watch:
                while (tick := await watch.next()) is not None:
                    visit.span.end()
                    if isinstance(tick, CallRefusedError):
                        raise ProblemError(problems.refused(Call.TICKS, tick))
                    if watch.fell_behind:
                        raise ProblemError(problems.fell_behind())
                    yield trading_pb2.StreamTicksResponse(tick=messages.tick_message(tick))

    async def StreamOrders(  # noqa: N802
        self, request: trading_pb2.StreamOrdersRequest, context: Context
    ) -> AsyncIterator[trading_pb2.StreamOrdersResponse]:
        async with self._visit(SpanName.GATEWAY_STREAM, request.account, context, {}) as visit:
            feed = visit.room.desk.feed
            position = feed.last_position
            yield trading_pb2.StreamOrdersResponse()
            visit.span.end()
            async for event in feed.follow(visit.room.key, position):
                if event is not None and event.order.bot == visit.bot:
                    yield trading_pb2.StreamOrdersResponse(event=messages.event_message(event))

    async def StreamContract(  # noqa: N802
        self, request: trading_pb2.StreamContractRequest, context: Context
    ) -> AsyncIterator[trading_pb2.StreamContractResponse]:
        async with self._visit(SpanName.GATEWAY_STREAM, request.account, context, {}) as visit:
            order = self._own_order(visit, request.order_id)
            if not order.contract_id:
                raise ProblemError(problems.no_contract(order))
            with visit.room.feeds.contract(order.contract_id) as watch:
                while (contract := await watch.next()) is not None:
                    visit.span.end()
                    if isinstance(contract, CallRefusedError):
                        raise ProblemError(problems.refused(Call.PROPOSAL_OPEN_CONTRACT, contract))
                    if watch.fell_behind:
                        raise ProblemError(problems.fell_behind())
                    visit.room.desk.on_contract(order, contract)
                    message = messages.contract_message(visit.room.key, contract)
                    yield trading_pb2.StreamContractResponse(contract=message)
                    if contract.is_sold:
                        return

    @asynccontextmanager
    async def _visit(
        self, name: SpanName, account: str, context: Context, attributes: Mapping[Attribute, str]
    ) -> AsyncGenerator[_Visit, None]:
        """Check who calls about what, span the call, and turn every foreseen error into a status."""
        bot = caller().name
        span = self._telemetry.start(
            name,
            {Attribute.ACCOUNT: account[:40], Attribute.BOT: bot, **attributes},
            context_from(context.invocation_metadata()),
        )
        left_s = cast("float | None", context.time_remaining())  # its stub forgets the None of a call without deadline
        left_fleet_s = DEFAULT_DEADLINE_S if left_s is None else self._clock.fleet_s(left_s)
        try:
            room = self._room(account, bot)
            room.desk.tallies.called(bot, self._clock.now_ns())
            yield _Visit(bot, room, span, self._clock.now_ns() + round(left_fleet_s * 1e9))
        except ProblemError as error:
            span.fail(error.problem.reason, error.problem.message)
            await abort(context, error.problem)
        except TurnRefusedError as error:
            span.fail("TURN_REFUSED", str(error))
            await abort(context, problems.turn_refused(error, self._clock))
        except AnswerLostError as error:
            span.fail(error.code, str(error))
            problem = Problem(
                grpc.StatusCode.UNAVAILABLE, "ANSWER_LOST", f"Deriv's answer was lost ({error})", retry_after_s=1.0
            )
            await abort(context, problem)
        except Exception as error:  # noqa: BLE001 - the caller gets one line, the log the traceback
            span.fail(type(error).__name__, str(error))
            _log.exception("a call failed in an unforeseen way", bot=bot, call=name)
            problem = Problem(
                grpc.StatusCode.INTERNAL, "GATEWAY_FAILED", "the gateway failed: its log says why", retry_after_s=1.0
            )
            await abort(context, problem)
        finally:
            span.end()

    def _room(self, account: str, bot: str) -> AccountRoom:
        room = self._rooms.get(account)
        if room is None:
            raise messages.invalid("account", f"unknown account {account[:40]!r}; known are {', '.join(self._rooms)}")
        if bot not in room.bots:
            code = grpc.StatusCode.PERMISSION_DENIED
            raise ProblemError(Problem(code, "BOT_UNKNOWN", f"bot {bot} is not in the fleet file of {account}"))
        return room

    def _has_lease(self, visit: _Visit, symbol: str, replica: str, epoch: int) -> bool:
        return visit.room.leases[visit.bot].allows(replica, symbol, epoch, self._clock.now_ns())

    def _own_order(self, visit: _Visit, order_id: str) -> Order:
        order = visit.room.desk.find(messages.check_order_id(order_id))
        if order is None or order.bot != visit.bot:
            code = grpc.StatusCode.NOT_FOUND
            raise ProblemError(Problem(code, "ORDER_UNKNOWN", f"bot {visit.bot} has no order {order_id}"))
        return order

    async def _live_contract(self, visit: _Visit, order: Order) -> ContractState:
        if not order.contract_id:
            raise ProblemError(problems.no_contract(order))
        is_over = order.state is State.SETTLED
        try:
            contract = await visit.room.reads.contract(
                visit.bot, order.contract_id, visit.deadline_ns, visit.span, is_over=is_over
            )
        except CallRefusedError as error:
            raise ProblemError(problems.refused(Call.PROPOSAL_OPEN_CONTRACT, error)) from None
        if contract is None:
            raise ProblemError(problems.no_contract(order))
        return contract

    async def _history(self, visit: _Visit, request: trading_pb2.HistoryRequest) -> trading_pb2.HistoryResponse:
        asked = Asked(request.symbol, request.count, request.end_epoch_s, request.granularity_s)
        try:
            return await visit.room.reads.history(visit.bot, asked, visit.deadline_ns, visit.span)
        except CallRefusedError as error:
            raise ProblemError(problems.refused(Call.TICKS_HISTORY, error)) from None

    def _forecast(self, visit: _Visit, call: Call, waited_ms: int) -> quota_pb2.Forecast:
        forecast = visit.room.schedule.forecast(visit.bot, call, self._clock.now_ns())
        return quota.forecast_message(forecast, waited_ms)

"""Trading for bots over gRPC. The bot is the bearer of the token, never a field."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

import grpc

from derivfleet.common.rpc.identity import caller
from derivfleet.common.rpc.status import Problem, ProblemError, abort
from derivfleet.common.spans import Attribute, SpanName
from derivfleet.connection.connection import CallRefusedError
from derivfleet.deriv.requests import GRANULARITIES_S
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.market.coalescing import HistoryQuery
from derivfleet.gateway.core.orders.exit import Exit, ExitKind, ExitState, ExitTerms
from derivfleet.gateway.core.orders.order import Order, State
from derivfleet.gateway.rpc import errors, messages, quota
from derivfleet.gateway.rpc.pumps import Pump, sent_away
from derivfleet.gateway.rpc.visits import Context, Reception, Visit
from derivfleet.v1 import quota_pb2, trading_pb2, trading_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from derivfleet.common.clock import Clock
    from derivfleet.common.telemetry import Telemetry
    from derivfleet.deriv.answers import ContractState
    from derivfleet.deriv.ticks import Tick
    from derivfleet.gateway.account.account import AccountRoom

__all__ = ["TradingServicer"]

MOST_TICKS = 5000
"""Deriv's own cap."""
MOST_SYMBOLS = 50
"""Half of what one socket may stream; opening streams is counted on the whole account."""
LAST_EPOCH_S = 9_999_999_999


class TradingServicer(trading_pb2_grpc.TradingServiceServicer):
    """Every method: check, ask the account's room, answer or explain."""

    def __init__(self, rooms: Mapping[str, AccountRoom], clock: Clock, telemetry: Telemetry) -> None:
        self._reception = Reception(rooms, clock, telemetry)
        self._clock = clock

    async def Buy(self, request: trading_pb2.BuyRequest, context: Context) -> trading_pb2.BuyResponse:  # noqa: N802
        attributes = {
            Attribute.ORDER_ID: request.order_id[:64],
            Attribute.SYMBOL: request.terms.symbol[:30],
            Attribute.CONTRACT_TYPE: request.terms.contract_type[:30],
        }
        async with self._visit(SpanName.GATEWAY_BUY, request.account, context, attributes) as visit:
            visit.about = {"order_id": messages.check_order_id(request.order_id)}
            terms = messages.terms_of(request.terms)
            order, denial = await visit.room.orders.purchases.buy(
                visit.bot,
                request.order_id,
                terms,
                visit.deadline_ns,
                visit.span.traceparent,
                lambda: self._has_lease(visit, terms.symbol, request.replica, request.lease_epoch),
            )
            visit.span.set({Attribute.STATE: order.state})
            if order.state is State.DENIED:
                wait_s = self._clock.wall_s(denial.wait_s) if denial is not None and denial.wait_ns else None
                reason = (order.error_code, order.error_message)
                raise ProblemError(errors.not_sent(visit.what, *reason, visit.room.key, visit.about, wait_s))
            if order.error_code:
                visit.span.fail(order.error_code, order.error_message)
            waited_ms = max(0, order.sent_time_ns - order.intended_time_ns) // 10**6
            return trading_pb2.BuyResponse(
                order=messages.order_message(order), forecast=self._forecast(visit, Call.BUY, waited_ms)
            )

    async def Sell(self, request: trading_pb2.SellRequest, context: Context) -> trading_pb2.SellResponse:  # noqa: N802
        attributes = {Attribute.ORDER_ID: request.order_id[:64]}
        async with self._visit(SpanName.GATEWAY_SELL, request.account, context, attributes) as visit:
            order = self._own_order(visit, request.order_id)
            order, done = await self._exit(visit, order, request.exit_id, messages.sale_of(request))
            visit.span.set({Attribute.STATE: order.state})
            return trading_pb2.SellResponse(
                order=messages.order_message(order),
                forecast=self._forecast(visit, Call.SELL, 0),
                exit=messages.exit_message(done),
            )

    async def Cancel(self, request: trading_pb2.CancelRequest, context: Context) -> trading_pb2.CancelResponse:  # noqa: N802
        attributes = {Attribute.ORDER_ID: request.order_id[:64]}
        async with self._visit(SpanName.GATEWAY_SELL, request.account, context, attributes) as visit:
            order = self._own_order(visit, request.order_id)
            order, done = await self._exit(visit, order, request.exit_id, ExitTerms(ExitKind.CANCEL))
            return trading_pb2.CancelResponse(order=messages.order_message(order), exit=messages.exit_message(done))

    async def UpdateContract(  # noqa: N802
        self, request: trading_pb2.UpdateContractRequest, context: Context
    ) -> trading_pb2.UpdateContractResponse:
        attributes = {Attribute.ORDER_ID: request.order_id[:64]}
        async with self._visit(SpanName.GATEWAY_SELL, request.account, context, attributes) as visit:
            order = self._own_order(visit, request.order_id)
            order, done = await self._exit(visit, order, request.exit_id, messages.update_of(request))
            return trading_pb2.UpdateContractResponse(
                order=messages.order_message(order), exit=messages.exit_message(done)
            )

    async def Check(self, request: trading_pb2.CheckRequest, context: Context) -> trading_pb2.CheckResponse:  # noqa: N802
        attributes = {Attribute.ORDER_ID: request.order_id[:64]}
        async with self._visit(SpanName.GATEWAY_CHECK, request.account, context, attributes) as visit:
            order = self._own_order(visit, request.order_id)
            if not request.live:
                return trading_pb2.CheckResponse(order=messages.order_message(order))
            contract = await self._live_contract(visit, order)
            visit.room.orders.registry.on_contract(order.contract_id, contract)
            order = self._own_order(visit, request.order_id)
            return trading_pb2.CheckResponse(
                order=messages.order_message(order),
                contract=messages.contract_message(visit.room.key, contract),
            )

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

    async def RenewLeases(  # noqa: N802
        self, request: trading_pb2.RenewLeasesRequest, context: Context
    ) -> trading_pb2.RenewLeasesResponse:
        # Not traced: it comes every second from every replica and says nothing about a trade.
        try:
            bot = caller().name
            leases = self._reception.room(request.account, bot).leases[bot]
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
                windows=quota.window_messages(visit.room.quota, now_ns),
                shares=quota.share_messages(visit.room.quota, now_ns, visit.bot),
                calls_saved=quota.saved_messages(visit.room.savings.counts),
                next_calls=quota.next_call_messages(visit.room.quota, (visit.bot,), now_ns),
            )

    # Streams are written to and not yielded from: a handler that hangs in a reader who does not read can then be ended.

    async def StreamTicks(  # type: ignore[override]  # noqa: N802 - its stub knows generators only
        self, request: trading_pb2.StreamTicksRequest, context: Context
    ) -> None:
        async with self._visit(SpanName.GATEWAY_STREAM, request.account, context, {}) as visit:
            symbols = list(dict.fromkeys(request.symbols))
            if not 1 <= len(symbols) <= MOST_SYMBOLS:
                raise messages.invalid("symbols", f"must name 1 to {MOST_SYMBOLS} symbols")
            for symbol in symbols:
                messages.check_symbol("symbols", symbol)

            def news(tick: Tick) -> trading_pb2.StreamTicksResponse:
                visit.span.end()
                return messages.tick_news(tick)

            with visit.room.feeds.ticks(symbols) as watch:
                async with sent_away(watch, context):
                    await Pump(watch, context, Call.TICKS, news).run()

    async def StreamOrders(  # type: ignore[override]  # noqa: N802 - as above
        self, request: trading_pb2.StreamOrdersRequest, context: Context
    ) -> None:
        async with self._visit(SpanName.GATEWAY_STREAM, request.account, context, {}) as visit:
            feed = visit.room.feed
            position = feed.last_position
            await context.write(trading_pb2.StreamOrdersResponse())
            visit.span.end()
            async with aclosing(feed.follow(visit.room.key, position, visit.bot)) as events:
                async for event in events:
                    if event is not None:
                        await context.write(trading_pb2.StreamOrdersResponse(event=messages.event_message(event)))

    async def StreamContract(  # type: ignore[override]  # noqa: N802 - as above
        self, request: trading_pb2.StreamContractRequest, context: Context
    ) -> None:
        async with self._visit(SpanName.GATEWAY_STREAM, request.account, context, {}) as visit:
            order = self._own_order(visit, request.order_id)
            if not order.contract_id:
                raise ProblemError(errors.no_contract(order))
            with visit.room.feeds.contract(order.contract_id) as watch:
                async with sent_away(watch, context):
                    while (contract := await watch.next()) is not None:
                        visit.span.end()
                        if isinstance(contract, CallRefusedError):
                            raise ProblemError(errors.refused(Call.PROPOSAL_OPEN_CONTRACT, contract))
                        visit.room.orders.registry.on_contract(order.contract_id, contract)
                        message = messages.contract_message(visit.room.key, contract)
                        await context.write(trading_pb2.StreamContractResponse(contract=message))
                        if contract.is_sold:
                            return

    def _visit(self, name: SpanName, account: str, context: Context, attributes: Mapping[Attribute, str]) -> Visit:
        return Visit(self._reception, name, account, context, attributes)

    def _has_lease(self, visit: Visit, symbol: str, replica: str, epoch: int) -> bool:
        return visit.room.leases[visit.bot].allows(replica, symbol, epoch, self._clock.now_ns())

    def _own_order(self, visit: Visit, order_id: str) -> Order:
        order = visit.room.orders.registry.find(messages.check_order_id(order_id))
        if order is None or order.bot != visit.bot:
            code = grpc.StatusCode.NOT_FOUND
            raise ProblemError(Problem(code, "ORDER_UNKNOWN", f"bot {visit.bot} has no order {order_id}"))
        return order

    @staticmethod
    async def _exit(visit: Visit, order: Order, exit_id: str, terms: ExitTerms) -> tuple[Order, Exit]:
        """Carry an exit out, once. Raises ProblemError where it was not done for certain, and DeniedError."""
        if exit_id:
            messages.check_id("exit_id", exit_id)
        exits = visit.room.orders.exits
        visit.about = {"order_id": order.order_id}
        order, done = await exits.carry_out(order, exit_id, terms, visit.deadline_ns, visit.span.traceparent)
        visit.about = {**visit.about, "exit_id": done.exit_id}
        reason = (done.error_code, done.error_message)
        if done.state is ExitState.REJECTED:
            metadata = {**visit.about, "final": "true"}
            raise ProblemError(Problem(grpc.StatusCode.FAILED_PRECONDITION, *reason, metadata=metadata))
        if done.state is ExitState.DENIED:
            raise ProblemError(errors.not_sent(visit.what, *reason, visit.room.key, visit.about))
        return order, done

    async def _live_contract(self, visit: Visit, order: Order) -> ContractState:
        if not order.contract_id:
            raise ProblemError(errors.no_contract(order))
        is_over = order.state is State.SETTLED
        try:
            contract = await visit.room.reads.contract(
                visit.bot, order.contract_id, visit.deadline_ns, visit.span, is_over=is_over
            )
        except CallRefusedError as error:
            raise ProblemError(errors.refused(Call.PROPOSAL_OPEN_CONTRACT, error)) from None
        if contract is None:
            raise ProblemError(errors.no_contract(order))
        return contract

    async def _history(self, visit: Visit, request: trading_pb2.HistoryRequest) -> trading_pb2.HistoryResponse:
        asked = HistoryQuery(request.symbol, request.count, request.end_epoch_s, request.granularity_s)
        try:
            return await visit.room.reads.history(visit.bot, asked, visit.deadline_ns, visit.span)
        except CallRefusedError as error:
            raise ProblemError(errors.refused(Call.TICKS_HISTORY, error)) from None

    def _forecast(self, visit: Visit, call: Call, waited_ms: int) -> quota_pb2.Forecast:
        forecast = visit.room.quota.forecast(visit.bot, call, self._clock.now_ns())
        return quota.forecast_message(forecast, waited_ms)

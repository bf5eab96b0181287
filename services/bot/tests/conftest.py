"""The gateway's side of a bot's tests: it speaks the contract over a real socket and does what the test tells it to."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Protocol

import grpc
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from derivfleet.bot.core.trader import Trader
from derivfleet.bot.gateway_client import GatewayClient
from derivfleet.bot.runner import Runner
from derivfleet.bot.staking import FlatStaking
from derivfleet.bot.strategies import decide
from derivfleet.common.clock import FleetClock
from derivfleet.common.fleet import Bot
from derivfleet.common.rpc.own_token import OwnToken
from derivfleet.common.rpc.status import Problem, abort
from derivfleet.common.telemetry import Telemetry
from derivfleet.v1 import market_pb2, orders_pb2, trading_pb2
from derivfleet.v1.trading_pb2_grpc import TradingServiceServicer, add_TradingServiceServicer_to_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

SPEED = 4.0
"""A bot's calls have deadlines and its decisions an age, in fleet time: faster, and a busy machine would pass them."""
LEASE_WALL_S = 30.0
TIMEOUT_S = 60.0
TOKEN = "over-4.a-secret-of-the-test"
Context = grpc.aio.ServicerContext[object, object]
BOT = Bot.model_validate(
    {
        "name": "over-4",
        "strategy": "digit_frequency",
        "symbols": ["R_100"],
        "parameters": {"window_ticks": 5, "deficit": -1.0},
    }
)


async def eventually(is_so: Callable[[], bool], within_wall_s: float = TIMEOUT_S) -> None:
    end = time.monotonic() + within_wall_s
    while not is_so():
        assert time.monotonic() < end, "it did not come to pass in time"
        await asyncio.sleep(0.005)


class Peer(TradingServiceServicer):
    """The gateway's side. ``buys`` says what happens to the next purchases: a state, or a problem; then CONFIRMED."""

    def __init__(self, clock: FleetClock) -> None:
        self.clock = clock
        self.buys: list[orders_pb2.OrderState.ValueType | Problem] = []
        self.orders: dict[str, orders_pb2.Order] = {}
        self.asked: list[str] = []
        self.asked_at: list[float] = []
        self.checked: list[str] = []
        self.traces: list[str] = []
        self.histories = 0
        self.histories_refused = 0
        self.refuse: Problem | None = None
        self.refuse_history: Problem | None = None
        self.settles = True
        self.grants = True
        self.epoch = 7
        self.epochs: list[int] = []
        self.left: list[str] = []
        self.open_streams = 0
        self._ticks: list[asyncio.Queue[market_pb2.Tick | None]] = []
        self._feeds: list[asyncio.Queue[orders_pb2.OrderEvent | None]] = []
        self._server: grpc.aio.Server | None = None

    async def start(self, port: int = 0) -> int:
        self._server = grpc.aio.server()
        add_TradingServiceServicer_to_server(self, self._server)
        port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        await self._server.start()
        return port

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
        self._server = None

    def tick(self) -> int:
        """Send a tick of this second; a second must pass between two."""
        epoch_s = int(self.clock.now_s())
        for queue in self._ticks:
            queue.put_nowait(market_pb2.Tick(symbol="R_100", epoch_s=epoch_s, quote="100.1", pip_decimals=2))
        return epoch_s

    def settle(self, order_id: str, profit: str) -> None:
        order = self.orders[order_id]
        order.state, order.profit = orders_pb2.ORDER_STATE_SETTLED, profit
        for queue in self._feeds:
            queue.put_nowait(orders_pb2.OrderEvent(order=order))

    def cut(self) -> None:
        """Break all streams."""
        for queue in (*self._ticks, *self._feeds):
            queue.put_nowait(None)

    async def _judge(self, context: Context) -> None:
        assert ("authorization", f"Bearer {TOKEN}") in (context.invocation_metadata() or ())
        if self.refuse is not None:
            await abort(context, self.refuse)

    async def RenewLeases(  # noqa: N802 - the contract's name
        self, request: trading_pb2.RenewLeasesRequest, context: Context
    ) -> trading_pb2.RenewLeasesResponse:
        await self._judge(context)
        if request.leaving:
            self.left.append(request.replica)
            return trading_pb2.RenewLeasesResponse()
        lease = trading_pb2.Lease(symbol="R_100", epoch=self.epoch, lasts_ns=round(LEASE_WALL_S * 1e9 * SPEED))
        return trading_pb2.RenewLeasesResponse(leases=[lease] if self.grants else [], replicas=1)

    async def Buy(self, request: trading_pb2.BuyRequest, context: Context) -> trading_pb2.BuyResponse:  # noqa: N802 - the contract's name
        await self._judge(context)
        self.asked.append(request.order_id)
        self.epochs.append(request.lease_epoch)
        assert request.replica == "replica-1"
        self.asked_at.append(self.clock.now_s())
        self.traces.append(dict(context.invocation_metadata() or ())["traceparent"])  # pyright: ignore[reportArgumentType] - text, for its key does not end in -bin
        outcome = self.buys.pop(0) if self.buys else orders_pb2.ORDER_STATE_CONFIRMED
        if isinstance(outcome, Problem):
            if outcome.code is grpc.StatusCode.RESOURCE_EXHAUSTED:
                # As the gateway does it: the denial is in the feed before the call is answered.
                denied = orders_pb2.Order(order_id=request.order_id, state=orders_pb2.ORDER_STATE_DENIED)
                for queue in self._feeds:
                    queue.put_nowait(orders_pb2.OrderEvent(order=denied))
                await asyncio.sleep(0.05)
            await abort(context, outcome)
        if request.order_id not in self.orders:
            self.orders[request.order_id] = orders_pb2.Order(
                account=request.account, order_id=request.order_id, bot="over-4", terms=request.terms, contract_id=1
            )
        order = self.orders[request.order_id]
        order.state = outcome
        return trading_pb2.BuyResponse(order=order)

    async def Check(self, request: trading_pb2.CheckRequest, context: Context) -> trading_pb2.CheckResponse:  # noqa: N802 - the contract's name
        await self._judge(context)
        self.checked.append(request.order_id)
        if request.order_id not in self.orders:
            await abort(context, Problem(grpc.StatusCode.NOT_FOUND, "ORDER_UNKNOWN", "no such order"))
        return trading_pb2.CheckResponse(order=self.orders[request.order_id])

    async def History(self, request: trading_pb2.HistoryRequest, context: Context) -> trading_pb2.HistoryResponse:  # noqa: N802 - the contract's name
        await self._judge(context)
        if self.refuse_history is not None:
            self.histories_refused += 1
            await abort(context, self.refuse_history)
        self.histories += 1
        end_s = int(self.clock.now_s())
        return trading_pb2.HistoryResponse(
            ticks=[
                market_pb2.Tick(symbol=request.symbol, epoch_s=end_s - back, quote="100.12", pip_decimals=2)
                for back in reversed(range(request.count))
            ]
        )

    async def StreamTicks(  # noqa: N802 - the contract's name
        self, request: trading_pb2.StreamTicksRequest, context: Context
    ) -> AsyncGenerator[trading_pb2.StreamTicksResponse, None]:
        await self._judge(context)
        assert list(request.symbols) == ["R_100"]
        queue: asyncio.Queue[market_pb2.Tick | None] = asyncio.Queue()
        self._ticks.append(queue)
        try:
            while (tick := await queue.get()) is not None:
                yield trading_pb2.StreamTicksResponse(tick=tick)
        finally:
            self._ticks.remove(queue)
        await abort(context, Problem(grpc.StatusCode.UNAVAILABLE, "CUT", "cut by the test"))

    async def StreamOrders(  # noqa: N802 - the contract's name
        self, request: trading_pb2.StreamOrdersRequest, context: Context
    ) -> AsyncGenerator[trading_pb2.StreamOrdersResponse, None]:
        await self._judge(context)
        assert request.account == "demo"
        queue: asyncio.Queue[orders_pb2.OrderEvent | None] = asyncio.Queue()
        self._feeds.append(queue)
        self.open_streams += 1
        try:
            yield trading_pb2.StreamOrdersResponse()
            while (event := await queue.get()) is not None:
                yield trading_pb2.StreamOrdersResponse(event=event)
        finally:
            self._feeds.remove(queue)
        await abort(context, Problem(grpc.StatusCode.UNAVAILABLE, "CUT", "cut by the test"))

    async def Sell(self, request: trading_pb2.SellRequest, context: Context) -> trading_pb2.SellResponse:  # noqa: N802, ARG002 - the contract's names
        raise AssertionError("no bot sells yet")

    async def Cancel(self, request: trading_pb2.CancelRequest, context: Context) -> trading_pb2.CancelResponse:  # noqa: N802, ARG002 - the contract's names
        raise AssertionError("no bot cancels")

    async def UpdateContract(  # noqa: N802 - the contract's name
        self,
        request: trading_pb2.UpdateContractRequest,  # noqa: ARG002 - the contract's name
        context: Context,  # noqa: ARG002 - the contract's name
    ) -> trading_pb2.UpdateContractResponse:
        raise AssertionError("no bot has limit orders")

    async def StreamContract(  # noqa: N802 - the contract's name
        self,
        request: trading_pb2.StreamContractRequest,  # noqa: ARG002 - the contract's name
        context: Context,  # noqa: ARG002 - the contract's name
    ) -> AsyncGenerator[trading_pb2.StreamContractResponse, None]:
        raise AssertionError("no bot watches a contract")
        yield

    async def GetQuota(self, request: trading_pb2.GetQuotaRequest, context: Context) -> trading_pb2.GetQuotaResponse:  # noqa: N802, ARG002 - the contract's names
        raise AssertionError("no bot asks for its quota")


class Trading:
    """A running bot and what came of it."""

    def __init__(self, peer: Peer, port: int, token: OwnToken) -> None:
        self.peer = peer
        self.spans = InMemorySpanExporter()
        self.stop = asyncio.Event()
        self._telemetry = Telemetry("bot", peer.clock, processors=[SimpleSpanProcessor(self.spans)])
        self._gateway = GatewayClient(f"127.0.0.1:{port}", token, "over-4", "replica-1", "demo", peer.clock)
        self.trader = Trader(
            "over-4",
            partial(decide, BOT.parameters),
            BOT.parameters.least_ticks(),
            FlatStaking(Decimal("0.35")).next_stake,
            BOT.symbols,
            0,
        )
        runner = Runner(BOT, "demo", self.trader, self._gateway, self._telemetry, peer.clock)
        self.task = asyncio.create_task(runner.run(self.stop))

    async def eventually(self, is_so: Callable[[], bool]) -> None:
        await eventually(is_so)

    async def ticks_until(self, is_so: Callable[[], bool]) -> None:
        """Let time and prices go on until something is so."""

        def tick() -> bool:
            assert not self.task.done() or self.task.exception() is None
            self.peer.tick()
            return is_so()

        await eventually(tick)

    async def close(self) -> None:
        self.stop.set()
        try:
            while not self.task.done():
                for key in self.trader.open_orders:
                    if key in self.peer.orders:
                        self.peer.settle(key, "0.00")
                await asyncio.sleep(0.01)
            await self.task
        finally:
            await self._gateway.close()
            self._telemetry.close()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans.get_finished_spans() if span.name == name]


@pytest.fixture
def clock() -> FleetClock:
    return FleetClock(SPEED, time.time_ns())


@pytest.fixture
def peer(clock: FleetClock) -> Peer:
    return Peer(clock)


class Start(Protocol):
    """Starts a bot against the peer; None starts the peer too."""

    def __call__(self, port: int | None = None) -> AbstractAsyncContextManager[Trading]: ...


@pytest.fixture
def trading(peer: Peer, tmp_path: Path) -> Start:
    file = tmp_path / "token"
    file.write_text(TOKEN)
    token = OwnToken(file, "token")

    @asynccontextmanager
    async def start(port: int | None = None) -> AsyncGenerator[Trading, None]:
        run = Trading(peer, await peer.start() if port is None else port, token)
        try:
            yield run
        finally:
            try:
                await run.close()
            finally:
                await peer.stop()

    return start

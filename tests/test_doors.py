"""What one bot, or somebody without a token, can take from all others: the gateway's doors have bounds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from running_fleet import running_fleet

from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.v1 import orders_pb2, trading_pb2
from tests.virtual_gateway import virtual_gateway, virtual_time

if TYPE_CHECKING:
    from pathlib import Path

REPLICAS, MOST_REPLICAS = 300, 100
STREAMS = 2_000
WATCHES, MOST_WATCHES = 1_000, 200
MEGABYTE = 1_000_000


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="300 replicas of one bot are taken, and each renewal sorts them all"
)
@virtual_time
async def test_the_replicas_of_a_bot_are_bounded(tmp_path: Path) -> None:
    async with virtual_gateway(tmp_path) as fleet:
        alive = 0
        for number in range(REPLICAS):
            request = trading_pb2.RenewLeasesRequest(account="demo", replica=f"r{number}")
            try:
                alive = (await fleet.trading.RenewLeases(request, metadata=fleet.as_bot("one"))).replicas
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017 - refusing is one way to bound them
                break
        assert alive <= MOST_REPLICAS


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="2000 streams of one bot are open, none is refused")
@virtual_time
async def test_the_streams_of_a_bot_are_bounded(tmp_path: Path) -> None:
    async with virtual_gateway(tmp_path) as fleet:
        request = trading_pb2.StreamOrdersRequest(account="demo")
        streams = [fleet.trading.StreamOrders(request, metadata=fleet.as_bot("one")) for _ in range(STREAMS)]
        first = await asyncio.gather(*(anext(aiter(stream)) for stream in streams), return_exceptions=True)
        for stream in streams:
            stream.cancel()
        assert any(isinstance(answer, grpc.aio.AioRpcError) for answer in first)


@virtual_time
async def test_a_bot_that_streams_every_symbol_takes_none_from_another(tmp_path: Path) -> None:
    async with virtual_gateway(tmp_path) as fleet:

        async def first_tick(bot: str, symbol: str) -> str:
            request = trading_pb2.StreamTicksRequest(account="demo", symbols=[symbol])
            stream = fleet.trading.StreamTicks(request, metadata=fleet.as_bot(bot))
            return (await anext(aiter(stream))).tick.symbol

        assert await asyncio.gather(*(first_tick("one", symbol) for symbol in SYMBOLS)) == list(SYMBOLS)
        assert await asyncio.gather(*(first_tick("two", symbol) for symbol in SYMBOLS)) == list(SYMBOLS)


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="1000 health watches without a token stand, 22 kB each")
async def test_health_watches_of_nobody_are_bounded(tmp_path: Path) -> None:
    async with running_fleet(tmp_path) as fleet, grpc.aio.insecure_channel(fleet.gateway) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)  # pyright: ignore[reportArgumentType] - its stub knows blocking channels only
        watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(WATCHES)]
        reads = [asyncio.ensure_future(watch.read()) for watch in watches]
        await asyncio.wait(reads, timeout=5)
        standing = sum(read.done() and isinstance(read.result(), health_pb2.HealthCheckResponse) for read in reads)
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*reads, return_exceptions=True)
        assert standing <= MOST_WATCHES


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="2 MB of nobody are read before they are refused")
async def test_a_message_far_larger_than_any_call_is_not_read(tmp_path: Path) -> None:
    async with running_fleet(tmp_path) as fleet:
        request = trading_pb2.BuyRequest(account="demo", order_id="x" * 2 * MEGABYTE)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await fleet.trading.Buy(request, timeout=30)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_the_largest_call_that_means_something_is_read(tmp_path: Path) -> None:
    async with running_fleet(tmp_path) as fleet:
        order = await fleet.buy("x" * 64)
        assert order.order.state in (orders_pb2.ORDER_STATE_CONFIRMED, orders_pb2.ORDER_STATE_SETTLED)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await fleet.buy("x" * 65)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT

"""Bots that behave badly harm themselves: one that floods, one that does not read, one that dies in the middle."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from running_fleet import DIGITS, RunningFleet, eventually, one_bot, running_fleet

from derivfleet.common.rpc.status import problem_of
from derivfleet.v1 import market_pb2, orders_pb2, trading_pb2, trading_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

FLOOD = 2000
BACKLOG = 400
FAST = [f"1HZ{index}V" for index in (10, 25, 50, 75, 100)]
WATCHER = """
import sys, grpc
from derivfleet.v1 import trading_pb2, trading_pb2_grpc
with grpc.insecure_channel(sys.argv[1]) as channel:
    request = trading_pb2.StreamTicksRequest(account="demo", symbols=["R_25"])
    bot = [("authorization", sys.argv[2])]
    for message in trading_pb2_grpc.TradingServiceStub(channel).StreamTicks(request, metadata=bot):
        print(message.tick.epoch_s, flush=True)
"""
"""A bot of the least kind: it prints the epochs of its ticks."""


@asynccontextmanager
async def connected(
    fleet: RunningFleet, *options: tuple[str, Any]
) -> AsyncGenerator[trading_pb2_grpc.TradingServiceAsyncStub, None]:
    """A connection that is shared with nobody."""
    own = ("grpc.use_local_subchannel_pool", 1)
    async with grpc.aio.insecure_channel(fleet.gateway, options=[own, *options]) as channel:
        yield trading_pb2_grpc.TradingServiceStub(channel)


async def test_a_flood_is_refused_and_the_others_are_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Leases are not what is tried here, and two thousand calls may take a slow machine longer than one lasts.
    monkeypatch.setattr("derivfleet.gateway.account.account.LEASE_LASTS_S", 600.0)
    limits = [{"key": "demo", "limits": {"headroom": 0.05}}]
    async with (
        running_fleet(tmp_path, bots=[one_bot("one"), one_bot("two")], accounts=limits, speed=1) as fleet,
        connected(fleet) as flooder,
    ):
        await fleet.buy("calm-0", bot="two")
        epoch = (await fleet.hold("one"))["1HZ100V"]

        async def purchase(number: int) -> str:
            request = trading_pb2.BuyRequest(
                account="demo",
                order_id=f"flood-{number}",
                terms=orders_pb2.ContractTerms(**DIGITS),
                replica="test",
                lease_epoch=epoch,
            )
            try:
                await flooder.Buy(request, metadata=fleet.as_bot("one"), timeout=15)
            except grpc.aio.AioRpcError as error:
                problem = problem_of(error)
                assert problem.retry_after_s is None or problem.retry_after_s > 0
                return problem.reason
            return "bought"

        async def stay_calm() -> int:
            calls = 0
            while not flood.done():
                request = trading_pb2.CheckRequest(account="demo", order_id="calm-0")
                answer = await fleet.trading.Check(request, metadata=fleet.as_bot("two"))
                assert answer.order.order_id == "calm-0"
                calls += 1
            return calls

        flood = asyncio.gather(*(purchase(number) for number in range(FLOOD)))
        calls, order = await asyncio.gather(stay_calm(), fleet.buy("calm-1", bot="two"))
        outcomes = Counter(await flood)
        assert calls > 0
        assert order.order.contract_id
        # On a slow machine some of the flood is still on its way when its sender gives up.
        assert set(outcomes) - {"DEADLINE_EXCEEDED"} == {"bought", "LIMIT_REACHED"}
        assert outcomes["bought"] <= 18  # 360 a minute, of which 5 %
        # What was refused left nothing behind.
        kept = [order.order_id for order in await fleet.orders() if order.bot == "one"]
        assert len(kept) < FLOOD / 10


async def test_who_does_not_read_is_sent_away_and_told_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Fifty ticks a second, and eight seconds in which one who reads may be late: only one who never does is sent away.
    monkeypatch.setattr("derivfleet.gateway.market.feeds.WATCHER_BACKLOG", BACKLOG)
    async with (
        running_fleet(tmp_path, bots=[one_bot("one"), one_bot("two")], speed=10) as fleet,
        connected(fleet, ("grpc.http2.lookahead_bytes", 1), ("grpc.http2.bdp_probe", 0)) as deaf,
    ):
        request = trading_pb2.StreamTicksRequest(account="demo", symbols=FAST)
        unread = deaf.StreamTicks(request, metadata=fleet.as_bot("one"))
        read = fleet.trading.StreamTicks(request, metadata=fleet.as_bot("two"))
        seen: list[market_pb2.Tick] = []
        async for message in read:
            seen.append(message.tick)
            if len(seen) == BACKLOG + 100:
                break
        for symbol in FAST:
            epochs = [tick.epoch_s for tick in seen if tick.symbol == symbol]
            assert epochs == list(range(epochs[0], epochs[0] + len(epochs)))
        late = 0

        async def read_late() -> None:
            nonlocal late
            async for _ in unread:
                late += 1

        with pytest.raises(grpc.aio.AioRpcError) as sent_away:
            await read_late()
        assert problem_of(sent_away.value).reason == "STREAM_NOT_READ"
        assert late < BACKLOG
        # Whoever reads again gets ticks again.
        async for message in deaf.StreamTicks(request, metadata=fleet.as_bot("one")):
            assert message.tick.symbol in FAST
            break
        read.cancel()


async def test_a_bot_that_dies_in_the_middle_takes_nobody_with_it(tmp_path: Path) -> None:
    async with running_fleet(tmp_path, bots=[one_bot("one"), one_bot("two")]) as fleet:
        ((_, token),) = fleet.as_bot("one")
        dying = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WATCHER, fleet.gateway, token, stdout=asyncio.subprocess.PIPE
        )
        epochs: list[int] = []
        try:
            assert dying.stdout is not None
            assert (await dying.stdout.readline()).strip().isdigit()
            request = trading_pb2.StreamTicksRequest(account="demo", symbols=["R_50"])
            stream = fleet.trading.StreamTicks(request, metadata=fleet.as_bot("two"))
            async for message in stream:
                epochs.append(message.tick.epoch_s)
                if len(epochs) == 5:
                    dying.kill()
                if len(epochs) == 15:
                    break
            stream.cancel()
        finally:
            if dying.returncode is None:
                dying.kill()
            await dying.wait()
        assert epochs == list(range(epochs[0], epochs[0] + 30, 2))  # a tick every two seconds
        opened = {
            frame["subscription"]["id"]
            for frame in fleet.recorder.received
            if frame.get("msg_type") == "tick" and frame["tick"]["symbol"] == "R_25"
        }

        async def forgotten() -> set[str]:
            return {frame["forget"] for frame in fleet.recorder.sent if "forget" in frame}

        await eventually(forgotten, lambda ids: opened <= ids)

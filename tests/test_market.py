"""Prices and quota through the gateway, and requests that make no sense."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

import grpc
import pytest
from running_fleet import RunningFleet, eventually, one_bot, running_fleet
from schemas import assert_valid_requests

from derivfleet.common.rpc.status import problem_of
from derivfleet.deriv.ticks import quotes
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.v1 import control_pb2, trading_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from derivfleet.v1 import market_pb2

DIALECTS = pytest.mark.parametrize("dialect", list(Dialect))


def as_market(ticks: list[market_pb2.Tick]) -> list[tuple[int, Decimal]]:
    return [(tick.epoch_s, Decimal(tick.quote)) for tick in ticks]


async def ticks_of(fleet: RunningFleet, symbols: list[str], count: int) -> list[market_pb2.Tick]:
    request = trading_pb2.StreamTicksRequest(account="demo", symbols=symbols)
    stream = fleet.trading.StreamTicks(request, metadata=fleet.as_bot("one"))
    found: list[market_pb2.Tick] = []
    async for message in stream:
        found.append(message.tick)
        if len(found) == count:
            stream.cancel()
            break
    return found


@DIALECTS
async def test_history_and_ticks_are_the_market_itself(tmp_path: Path, dialect: Dialect) -> None:
    async with running_fleet(tmp_path, dialect) as fleet:
        request = trading_pb2.HistoryRequest(account="demo", symbol="R_50", count=300)
        history = as_market(list((await fleet.trading.History(request, metadata=fleet.as_bot("one"))).ticks))
        assert len(history) == 300
        assert history == quotes("1", "R_50", history[0][0], history[-1][0])
        live = as_market(await ticks_of(fleet, ["R_50"], 5))
        assert live == quotes("1", "R_50", live[0][0], live[-1][0])
        assert_valid_requests(fleet.recorder.sent, dialect)


@DIALECTS
async def test_candles_sum_up_the_ticks(tmp_path: Path, dialect: Dialect) -> None:
    async with running_fleet(tmp_path, dialect) as fleet:
        end_epoch_s = int(fleet.clock.now_s()) // 60 * 60
        request = trading_pb2.HistoryRequest(
            account="demo", symbol="1HZ100V", count=3, granularity_s=60, end_epoch_s=end_epoch_s
        )
        candles = (await fleet.trading.History(request, metadata=fleet.as_bot("one"))).candles
        assert len(candles) == 3
        whole = candles[1]
        prices = [quote for _, quote in quotes("1", "1HZ100V", whole.open_epoch_s, whole.open_epoch_s + 59)]
        assert (Decimal(whole.open), Decimal(whole.close)) == (prices[0], prices[-1])
        assert (Decimal(whole.high), Decimal(whole.low)) == (max(prices), min(prices))
        assert_valid_requests(fleet.recorder.sent, dialect)


async def test_many_watchers_of_a_symbol_cost_one_stream(tmp_path: Path) -> None:
    async with running_fleet(tmp_path) as fleet:
        seen = await asyncio.gather(*(ticks_of(fleet, ["1HZ10V", "1HZ25V"], 6) for _ in range(10)))
        assert all(len(ticks) == 6 for ticks in seen)
        asked = [frame["ticks"] for frame in fleet.recorder.sent if "ticks" in frame]
        assert sorted(asked) == ["1HZ10V", "1HZ25V"]

        async def streams() -> int:
            return sum(slot.streams for slot in (await fleet.account()).connections)

        # When nobody watches any more, only the account's own two streams are left, also at Deriv.
        await eventually(streams, lambda count: count == 2)
        opened = {frame["subscription"]["id"] for frame in fleet.recorder.received if frame.get("msg_type") == "tick"}

        async def ended() -> list[str]:
            return [frame["forget"] for frame in fleet.recorder.sent if frame.get("forget") in opened]

        await eventually(ended, lambda forgotten: sorted(forgotten) == sorted(opened))


async def test_a_bot_that_opens_its_ticks_again_and_again_always_gets_them(tmp_path: Path) -> None:
    async with running_fleet(tmp_path) as fleet:
        for _ in range(10):
            assert len(await ticks_of(fleet, ["1HZ10V", "1HZ25V"], 2)) == 2


async def test_ticks_go_on_after_the_socket_was_cut(tmp_path: Path) -> None:
    async with running_fleet(tmp_path) as fleet:
        fleet.recorder.cut_at(lambda frame: frame.get("msg_type") == "tick" and frame["tick"]["epoch"] % 3 == 0)
        epochs = [tick.epoch_s for tick in await ticks_of(fleet, ["1HZ100V"], 20)]
        assert fleet.recorder.cuts == 1
        assert epochs == sorted(set(epochs))


async def test_a_watcher_of_what_does_not_exist_is_told(tmp_path: Path) -> None:
    async with running_fleet(tmp_path) as fleet:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ticks_of(fleet, ["NEW_5"], 1)
        assert problem_of(caught.value).reason == "InvalidSymbol"
        assert problem_of(caught.value).code is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("symbols", [["R_10", "R 10!"], ["R_10", ""], [f"R_{number}" for number in range(51)], []])
async def test_ticks_of_what_can_be_no_symbol_are_refused_and_open_nothing(tmp_path: Path, symbols: list[str]) -> None:
    async with running_fleet(tmp_path) as fleet:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ticks_of(fleet, symbols, 1)
        assert problem_of(caught.value).field == "symbols"
        assert not any("ticks" in frame for frame in fleet.recorder.sent)


async def test_quota_tells_the_account_and_the_own_share(tmp_path: Path) -> None:
    async with running_fleet(tmp_path, bots=[one_bot("one"), one_bot("two", weight=3)]) as fleet:
        request = trading_pb2.GetQuotaRequest(account="demo")
        quota = await fleet.trading.GetQuota(request, metadata=fleet.as_bot("one"))
        trade = {(window.bucket, window.window_s): window for window in quota.windows}["trade", 60]
        assert (trade.limit, trade.deriv_limit) == (342, 360)
        assert {share.bot for share in quota.shares} == {"one"}
        (share,) = [share for share in quota.shares if (share.bucket, share.window_s) == ("trade", 60)]
        assert share.share == 85  # a quarter of 342


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("History", trading_pb2.HistoryRequest(account="demo", symbol="R_50"), "count"),
        ("History", trading_pb2.HistoryRequest(account="demo", symbol="R_50", count=5001), "count"),
        (
            "History",
            trading_pb2.HistoryRequest(account="demo", symbol="R_50", count=1, granularity_s=61),
            "granularity_s",
        ),
        ("History", trading_pb2.HistoryRequest(account="demo", symbol="R 50", count=1), "symbol"),
        ("History", trading_pb2.HistoryRequest(account="demo", symbol="", count=1), "symbol"),
        ("History", trading_pb2.HistoryRequest(symbol="R_50", count=1), "account"),
        ("History", trading_pb2.HistoryRequest(account="demo", symbol="R", count=1), "symbol"),
        ("History", trading_pb2.HistoryRequest(account="demo", symbol="R_50", count=1, end_epoch_s=-5), "end_epoch_s"),
        (
            "History",
            trading_pb2.HistoryRequest(account="demo", symbol="R_50", count=1, end_epoch_s=10**11),
            "end_epoch_s",
        ),
        ("Buy", trading_pb2.BuyRequest(), "account"),
        ("Buy", trading_pb2.BuyRequest(account="demo"), "order_id"),
        ("Buy", trading_pb2.BuyRequest(account="demo", order_id="o"), "terms.contract_type"),
        ("Check", trading_pb2.CheckRequest(account="demo"), "order_id"),
        ("Sell", trading_pb2.SellRequest(account="other", order_id="o"), "account"),
        ("GetQuota", trading_pb2.GetQuotaRequest(account="x" * 1000), "account"),
    ],
)
async def test_a_request_that_makes_no_sense_names_its_field(
    tmp_path: Path, method: str, request_: object, field: str
) -> None:
    async with running_fleet(tmp_path) as fleet:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(fleet.trading, method)(request_, metadata=fleet.as_bot("one"))
        problem = problem_of(caught.value)
        assert (problem.code, problem.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)
        assert "\n" not in problem.message


async def test_bytes_that_are_no_message_harm_nobody(tmp_path: Path) -> None:
    async with running_fleet(tmp_path) as fleet:
        with pytest.raises(grpc.aio.AioRpcError):
            await fleet.send_bytes("/derivfleet.v1.TradingService/Buy", b"\xff" * 100, fleet.as_bot("one"))
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await fleet.send_bytes("/derivfleet.v1.TradingService/Steal", b"", fleet.as_bot("one"))
        assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert await ticks_of(fleet, ["R_10"], 1)


async def test_operators_see_and_bots_do_not(tmp_path: Path) -> None:
    async with running_fleet(tmp_path) as fleet:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await fleet.control.GetStatus(control_pb2.GetStatusRequest(), metadata=fleet.as_bot("one"))
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(grpc.aio.AioRpcError) as trading:
            await fleet.trading.GetQuota(trading_pb2.GetQuotaRequest(account="demo"), metadata=fleet.as_operator)
        assert trading.value.code() is grpc.StatusCode.PERMISSION_DENIED
        for wrong, field in (
            (control_pb2.ListOrdersRequest(account="other"), "account"),
            (control_pb2.ListOrdersRequest(limit=1001), "limit"),
            (control_pb2.ListOrdersRequest(page_token="x"), "page_token"),
            (control_pb2.ListOrdersRequest(page_token="²"), "page_token"),
            (control_pb2.ListOrdersRequest(page_token="9" * 30), "page_token"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as named:
                await fleet.control.ListOrders(wrong, metadata=fleet.as_operator)
            assert problem_of(named.value).field == field
        feed = fleet.control.StreamOrderFeed(
            control_pb2.StreamOrderFeedRequest(after_position=-1), metadata=fleet.as_operator
        )
        with pytest.raises(grpc.aio.AioRpcError) as before_the_beginning:
            await anext(aiter(feed))
        assert problem_of(before_the_beginning.value).field == "after_position"

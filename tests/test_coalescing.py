"""What many ask is asked of Deriv once: counted in the simulator's ledger, compared with the market itself."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from decimal import Decimal
from math import ceil
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from running_fleet import APP_IDS, RunningFleet, eventually, running_fleet
from schemas import assert_valid_requests

from derivfleet.deriv.candles import candle_at
from derivfleet.deriv.dialects import dialect as codec_of
from derivfleet.deriv.dialects import from_json
from derivfleet.deriv.requests import GRANULARITIES_S
from derivfleet.deriv.ticks import quotes
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.gateway.market.feeds import FRESH_S
from derivfleet.gateway.rpc.messages import history_message
from derivfleet.v1 import trading_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

DIALECTS = pytest.mark.parametrize("dialect", list(Dialect))
DEFAULT_BUCKET = {Dialect.OPTIONS: "other", Dialect.LEGACY: "general"}


async def accepted(fleet: RunningFleet, call: str) -> int:
    calls = (await fleet.fetch(f"{fleet.simulator_url}/ledger/calls"))["calls"]
    return int(calls[call]["accepted"]) if call in calls else 0


def sent(fleet: RunningFleet, call: str) -> int:
    """By the gateway, whoever else asks the simulator."""
    return sum(call in frame for frame in fleet.recorder.sent)


async def told(fleet: RunningFleet, symbol: str, count: int, **more: int) -> trading_pb2.HistoryResponse:
    request = trading_pb2.HistoryRequest(account="demo", symbol=symbol, count=count, **more)
    return await fleet.trading.History(request, metadata=fleet.as_bot("one"))


async def ticks_agree(fleet: RunningFleet, symbol: str, count: int) -> int:
    """Ask for ticks and compare them with the market; returns the last epoch."""
    found = [(tick.epoch_s, Decimal(tick.quote)) for tick in (await told(fleet, symbol, count)).ticks]
    assert len(found) == count
    assert found == quotes("1", symbol, found[0][0], found[-1][0])
    return found[-1][0]


async def candles_agree(fleet: RunningFleet, symbol: str, count: int, granularity_s: int) -> None:
    """Ask for candles and compare them with those of the market at one of the last ticks."""
    before_s = int(fleet.clock.now_s())
    answer = await told(fleet, symbol, count, granularity_s=granularity_s)
    found = [
        (row.open_epoch_s, *(Decimal(text) for text in (row.open, row.high, row.low, row.close)))
        for row in answer.candles
    ]
    # The fleet lives in this thread too: what takes long here would make its prices late.
    possible: list[Any] = []
    for as_of_s in range(before_s - ceil(FRESH_S) - 1, int(fleet.clock.now_s()) + 1):
        running_s = as_of_s - as_of_s % granularity_s
        starts_s = range(running_s - (count - 1) * granularity_s, running_s + 1, granularity_s)
        made = [candle_at("1", symbol, granularity_s, start_s, as_of_s) for start_s in starts_s]
        possible.append([(one.epoch_s, one.open, one.high, one.low, one.close) for one in made])
    assert found in possible


@DIALECTS
async def test_fifty_at_once_are_one_call(tmp_path: Path, dialect: Dialect) -> None:
    async with running_fleet(tmp_path, dialect, speed=1) as fleet:
        answers = await asyncio.gather(*(told(fleet, "R_50", 80) for _ in range(50)))
        assert {len(answer.ticks) for answer in answers} == {80}
        assert await accepted(fleet, "ticks_history") == 1
        quota = await fleet.trading.GetQuota(trading_pb2.GetQuotaRequest(account="demo"), metadata=fleet.as_bot("one"))
        saved = {one.kind: one.calls for one in quota.calls_saved}
        assert saved == {one.kind: one.calls for one in (await fleet.account()).calls_saved}
        assert saved == {"history": 49, "contract": 0, "ticks": 0}
        assert_valid_requests(fleet.recorder.sent, dialect)


@asynccontextmanager
async def deriv(
    fleet: RunningFleet, dialect: Dialect
) -> AsyncGenerator[Callable[[dict[str, Any]], Awaitable[Any]], None]:
    """Ask the simulator over a socket of one's own, past the gateway."""
    path = (
        "/trading/v1/options/ws/public" if dialect is Dialect.OPTIONS else f"/websockets/v3?app_id={APP_IDS[dialect]}"
    )
    async with aiohttp.ClientSession() as session, session.ws_connect(fleet.simulator_url + path) as socket:

        async def ask(frame: dict[str, Any]) -> Any:
            await socket.send_json(frame)
            answer = await socket.receive_json(loads=from_json)
            assert "error" not in answer, answer
            return answer

        yield ask


@DIALECTS
async def test_what_is_told_here_is_what_deriv_tells_then(tmp_path: Path, dialect: Dialect) -> None:
    """For each local answer Deriv itself is asked for the same, up to the same tick."""
    plenty = {"limits": {str(dialect): {DEFAULT_BUCKET[dialect]: {60: 100_000, 3600: 1_000_000}}}}
    symbols = ("1HZ100V", "R_75")  # one tick a second, one every two
    async with running_fleet(tmp_path, dialect, speed=2, simulator=plenty) as fleet, deriv(fleet, dialect) as ask:
        codec = codec_of(dialect)
        # A stream that is opened before the connection for reads is there moves to it, and is asked for twice.
        await eventually(fleet.account, lambda account: {slot.state for slot in account.connections} == {"ready"})
        before = compared = rounds = 0
        epochs: set[int] = set()
        while compared <= 60 or len(epochs) <= 10:  # the market goes on meanwhile
            rounds += 1
            if rounds == 10:  # by then everything is known here
                before = sent(fleet, "ticks_history")
            for symbol in symbols:
                ticks = (await told(fleet, symbol, 90)).ticks
                candles = (await told(fleet, symbol, 7, granularity_s=60)).candles
                if (await told(fleet, symbol, 1)).ticks[0] != ticks[-1]:
                    continue  # a tick came between them: who knows what the candles hold
                compared += 1
                epochs.add(ticks[-1].epoch_s)
                frame = {"ticks_history": symbol, "end": str(ticks[-1].epoch_s)}
                fresh = codec.decode_history(await ask({**frame, "style": "ticks", "count": 90}))
                assert history_message(symbol, 0, fresh.prices, (), fresh.decimals or 0).ticks == ticks
                fresh = codec.decode_history(await ask({**frame, "style": "candles", "granularity": 60, "count": 7}))
                assert history_message(symbol, 60, (), fresh.candles, 0).candles == candles
            await asyncio.sleep(0.05)
        assert sent(fleet, "ticks_history") <= before + 2  # a stall of some seconds makes the gateway ask again
        assert sent(fleet, "ticks") == len(symbols)


async def test_candles_of_every_length_are_those_of_the_market(tmp_path: Path) -> None:
    async with running_fleet(tmp_path, speed=1) as fleet:
        for granularity_s in GRANULARITIES_S[:10]:
            for _ in range(3):
                await candles_agree(fleet, "1HZ10V", 2, granularity_s)
        assert await accepted(fleet, "ticks_history") <= 2 * 10


async def test_a_reconnect_leaves_no_hole(tmp_path: Path) -> None:
    async with running_fleet(tmp_path, speed=5) as fleet:
        await ticks_agree(fleet, "1HZ100V", 90)
        await candles_agree(fleet, "1HZ100V", 7, 60)
        last_s = await ticks_agree(fleet, "1HZ100V", 90)
        fleet.recorder.cut_at(lambda frame: frame.get("msg_type") == "tick" and frame["tick"]["epoch"] >= last_s + 3)

        async def goes_on() -> int:
            await candles_agree(fleet, "1HZ100V", 7, 60)
            return await ticks_agree(fleet, "1HZ100V", 90)

        await eventually(goes_on, lambda epoch_s: epoch_s >= last_s + 40)
        assert fleet.recorder.cuts == 1
        assert await accepted(fleet, "ticks_history") < 20


async def test_a_watched_contract_is_looked_at_without_a_call(tmp_path: Path) -> None:
    async with running_fleet(tmp_path, speed=1) as fleet:
        bot = fleet.as_bot("one")
        await fleet.buy("o1", contract_type="CALL", barrier="", duration=10, duration_unit="m", stake="10")
        request = trading_pb2.StreamContractRequest(account="demo", order_id="o1")
        stream = fleet.trading.StreamContract(request, metadata=bot)
        spots: set[int] = set()
        async for message in stream:
            if not message.contract.is_valid_to_sell:
                continue
            before = await accepted(fleet, "proposal_open_contract")
            for _ in range(5):
                check = trading_pb2.CheckRequest(account="demo", order_id="o1", live=True)
                live = await fleet.trading.Check(check, metadata=bot)
                assert Decimal(live.contract.bid_price) > 0
                assert live.contract.current_spot_epoch_s >= message.contract.current_spot_epoch_s
                spots.add(live.contract.current_spot_epoch_s)
            assert await accepted(fleet, "proposal_open_contract") == before
            if len(spots) >= 3:
                break
        await fleet.trading.Sell(trading_pb2.SellRequest(account="demo", order_id="o1"), metadata=bot)
        sold = await fleet.trading.Check(
            trading_pb2.CheckRequest(account="demo", order_id="o1", live=True), metadata=bot
        )
        assert sold.contract.is_sold
        stream.cancel()

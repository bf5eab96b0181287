"""Reads that many share: how often Deriv is asked, and that what is told is what Deriv would have told."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from derivfleet.common.spans import Attribute, SpanName
from derivfleet.connection.connection import AnswerLostError, CallRefusedError
from derivfleet.connection.login import LoginError
from derivfleet.deriv.candles import candle_at
from derivfleet.deriv.dialects import dialect, to_json
from derivfleet.deriv.ticks import quotes
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.gateway.core.market.coalescing import HistoryQuery
from derivfleet.gateway.core.orders.denials import DeniedError
from derivfleet.gateway.market.reads import KEPT_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from conftest import Account, Socket

    from derivfleet.deriv.answers import ContractState
    from derivfleet.v1.market_pb2 import Candle, Tick
    from derivfleet.v1.trading_pb2 import HistoryResponse

    Opened = Callable[[], AbstractAsyncContextManager[Account]]
Frame = dict[str, Any]
SYMBOL = "1HZ100V"
CODEC = dialect(Dialect.OPTIONS)
CONTRACT: Frame = {
    "contract_id": 7,
    "contract_type": "CALL",
    "underlying_symbol": SYMBOL,
    "currency": "USD",
    "buy_price": "1.00",
    "payout": "1.95",
    "is_sold": 0,
}


class Exchange:
    """A Deriv with a market, driven tick by tick."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.clock = account.clock
        self.streams: dict[str, tuple[Socket, Frame]] = {}
        self.contract = CONTRACT
        account.deriv.on |= {
            "ticks": self.ticks,
            "ticks_history": self.history,
            "forget": self.forget,
            "proposal_open_contract": self.contract_asked,
        }

    @property
    def now_s(self) -> int:
        return int(self.clock.now_s())

    def asked(self, call: str = "ticks_history") -> int:
        return len(self.account.deriv.calls(call))

    async def tick(self, seconds: int = 1) -> None:
        """Let time pass and the market tick."""
        for _ in range(seconds):
            await self.clock.advance(1)
            for stream_id, (socket, frame) in self.streams.items():
                if socket.close_code is None:
                    self.tell(stream_id, socket, frame)
            await self.clock.settle()

    def tell(self, stream_id: str, socket: Socket, frame: Frame) -> None:
        if "ticks" in frame:
            ((epoch_s, quote),) = quotes("1", frame["ticks"], self.now_s, self.now_s)
            body = {"symbol": frame["ticks"], "epoch": epoch_s, "quote": float(quote), "pip_size": 2}
            self.account.deriv.reply(socket, frame, "tick", body, stream_id)
        else:
            self.account.deriv.reply(socket, frame, "proposal_open_contract", self.contract, stream_id)

    def subscribed(self, socket: Socket, frame: Frame) -> None:
        stream_id = f"{len(self.account.deriv.sent)}".rjust(36, "0")
        self.streams[stream_id] = socket, frame
        self.tell(stream_id, socket, frame)

    def ticks(self, socket: Socket, frame: Frame) -> None:
        self.subscribed(socket, frame)

    def contract_asked(self, socket: Socket, frame: Frame) -> None:
        if frame.get("subscribe"):
            self.subscribed(socket, frame)
        else:
            self.account.deriv.reply(socket, frame, "proposal_open_contract", self.contract)

    def forget(self, socket: Socket, frame: Frame) -> None:
        del self.streams[frame["forget"]]
        self.account.deriv.answer(socket, frame)

    def history(self, socket: Socket, frame: Frame) -> None:
        now_s, count = self.now_s, frame["count"]
        end_s = now_s if frame["end"] == "latest" else min(now_s, int(frame["end"]))
        answer: Frame
        if frame["style"] == "candles":
            told = candles(end_s, count, frame["granularity"])
            names = ("epoch", "open", "high", "low", "close")
            rows = [dict(zip(names, (row[0], *map(float, row[1:])), strict=True)) for row in told]
            answer = {"msg_type": "candles", "candles": rows, "pip_size": 2}
        else:
            prices = quotes("1", SYMBOL, end_s - count + 1, end_s)
            columns = {"times": [epoch_s for epoch_s, _ in prices], "prices": [float(quote) for _, quote in prices]}
            answer = {"msg_type": "history", "history": columns, "pip_size": 2}
        socket.put(json.dumps({**answer, "req_id": frame["req_id"], "echo_req": frame}))

    def asking(
        self, count: int, granularity_s: int = 0, end_s: int = 0, bot: str = "one", deadline_s: float = 30
    ) -> asyncio.Task[HistoryResponse]:
        deadline_ns = self.clock.now_ns() + round(deadline_s * 1e9)
        return asyncio.ensure_future(self._ask(HistoryQuery(SYMBOL, count, end_s, granularity_s), bot, deadline_ns))

    async def _ask(self, asked: HistoryQuery, bot: str, deadline_ns: int) -> HistoryResponse:
        span = self.account.telemetry.start(SpanName.GATEWAY_HISTORY, {})
        try:
            return await self.account.reads.history(bot, asked, deadline_ns, span)
        finally:
            span.end()

    async def told(self, count: int, granularity_s: int = 0, end_s: int = 0) -> HistoryResponse:
        asking = self.asking(count, granularity_s, end_s)
        await self.clock.settle()
        return await asking

    def looking(self, *, is_over: bool = False) -> asyncio.Task[ContractState | None]:
        async def look() -> ContractState | None:
            span = self.account.telemetry.start(SpanName.GATEWAY_CHECK, {})
            deadline_ns = self.clock.now_ns() + 30 * 10**9
            try:
                return await self.account.reads.contract("one", 7, deadline_ns, span, is_over=is_over)
            finally:
                span.end()

        return asyncio.ensure_future(look())

    def sources(self) -> Counter[Any]:
        """Of the answers since the last look."""
        found = Counter(
            (span.attributes or {}).get(Attribute.SOURCE)
            for span in self.account.spans.get_finished_spans()
            if span.name in (SpanName.GATEWAY_HISTORY, SpanName.GATEWAY_CHECK)
        )
        self.account.spans.clear()
        return found


def candles(end_s: int, count: int, granularity_s: int) -> list[tuple[int, Decimal, Decimal, Decimal, Decimal]]:
    last_s = end_s - end_s % granularity_s
    starts = range(last_s - (count - 1) * granularity_s, last_s + 1, granularity_s)
    made = (candle_at("1", SYMBOL, granularity_s, start_s, end_s) for start_s in starts)
    return [(one.epoch_s, one.open, one.high, one.low, one.close) for one in made]


def as_prices(ticks: list[Tick]) -> list[tuple[int, Decimal]]:
    return [(tick.epoch_s, Decimal(tick.quote)) for tick in ticks]


def as_candles(rows: list[Candle]) -> list[tuple[int, Decimal, Decimal, Decimal, Decimal]]:
    return [
        (row.open_epoch_s, Decimal(row.open), Decimal(row.high), Decimal(row.low), Decimal(row.close)) for row in rows
    ]


async def test_fifty_who_ask_the_same_cost_one_call_and_the_first_pays(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        asking = [exchange.asking(20, bot="two"), *(exchange.asking(20, bot="one") for _ in range(49))]
        await account.clock.settle()
        now_s = exchange.now_s
        for answer in await asyncio.gather(*asking):
            assert as_prices(list(answer.ticks)) == quotes("1", SYMBOL, now_s - 19, now_s)
        assert exchange.asked() == 1
        paid = [
            (span.attributes or {})[Attribute.BOT]
            for span in account.spans.get_finished_spans()
            if span.name == SpanName.DERIV_CALL and (span.attributes or {})[Attribute.CALL] == "ticks_history"
        ]
        assert paid == ["two"]
        assert exchange.sources() == {"deriv": 1, "shared": 49}
        assert account.savings.counts["history"] == 49


async def test_who_asks_for_another_length_joins_too(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        asking = [exchange.asking(count) for count in (20, 7, 100, 1)]
        await account.clock.settle()
        assert [len((await one).ticks) for one in asking] == [20, 7, 100, 1]
        assert exchange.asked() == 1


async def test_after_one_call_histories_are_told_here_and_stay_current(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        await exchange.told(100)
        for granularity_s in (60, 120):
            await exchange.told(5, granularity_s)
        assert exchange.asked() == 3
        exchange.sources()
        for _ in range(130):
            await exchange.tick()
            now_s = exchange.now_s
            assert as_prices(list((await exchange.told(100)).ticks)) == quotes("1", SYMBOL, now_s - 99, now_s)
            assert len((await exchange.told(3)).ticks) == 3
            for granularity_s in (60, 120):
                told = (await exchange.told(5, granularity_s)).candles
                assert as_candles(list(told)) == candles(now_s, 5, granularity_s)
        assert exchange.asked() == 3
        assert exchange.asked("ticks") == 1
        assert exchange.sources() == {"local": 130 * 4}
        assert account.savings.counts["history"] == 130 * 4


async def test_an_answer_is_made_once_between_two_ticks(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        await exchange.told(100)
        first = await exchange.told(100)
        assert await exchange.told(100) is first
        await exchange.tick()
        assert await exchange.told(100) is not first


async def test_more_than_is_known_here_is_asked_for_and_known_then(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        await exchange.told(100)
        assert len((await exchange.told(101)).ticks) == 101
        assert len((await exchange.told(1000)).ticks) == 1000
        assert exchange.asked() == 2


async def test_a_reconnect_is_asked_over_and_then_told_here_again(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        await exchange.told(100)
        await exchange.told(5, 60)
        await exchange.tick(3)
        account.deriv.open_sockets("reads")[0].abort()
        account.deriv.open_sockets("orders")[0].abort()
        account.deriv.refuses_login = LoginError("not now")
        await account.clock.settle()
        waiting = exchange.asking(100)  # what is known here is no longer current
        await exchange.tick(4)
        assert not waiting.done()
        account.deriv.refuses_login = None
        await exchange.tick(10)
        assert (await waiting).ticks[-1].epoch_s >= exchange.now_s - 10
        for _ in range(10):
            await exchange.tick()
            now_s = exchange.now_s
            assert as_prices(list((await exchange.told(100)).ticks)) == quotes("1", SYMBOL, now_s - 99, now_s)
            assert as_candles(list((await exchange.told(5, 60)).candles)) == candles(now_s, 5, 60)
        assert exchange.asked() <= 4  # both before, both after
        assert exchange.sources()["local"] >= 18


async def test_a_tick_that_never_came_makes_deriv_be_asked_again(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        await exchange.told(100)
        await account.clock.advance(1)  # time passes, but the tick is lost
        await exchange.tick()
        now_s = exchange.now_s
        assert as_prices(list((await exchange.told(100)).ticks)) == quotes("1", SYMBOL, now_s - 99, now_s)
        assert exchange.asked() == 2
        await exchange.tick()
        await exchange.told(100)
        assert exchange.asked() == 2


async def test_a_stream_that_falls_silent_is_not_believed_for_long(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        await exchange.told(100)
        account.deriv.open_sockets("reads")[0].mute = True
        await account.clock.advance(4.9)
        assert (await exchange.told(100)).ticks[-1].epoch_s == exchange.now_s - 4
        await account.clock.advance(0.2)
        exchange.asking(100)
        await account.clock.settle()
        assert exchange.asked() == 2


async def test_who_gives_up_leaves_the_call_to_the_others(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        held: list[tuple[Socket, Frame]] = []
        account.deriv.on["ticks_history"] = lambda socket, frame: held.append((socket, frame))
        first, second, third = (exchange.asking(20) for _ in range(3))
        await account.clock.settle()
        first.cancel()
        third.cancel()
        await account.clock.settle()
        exchange.history(*held[0])
        await account.clock.settle()
        assert len((await second).ticks) == 20
        assert len(held) == 1


async def test_a_call_that_nobody_waits_for_any_more_is_not_made(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        account.deriv.refuses_login = LoginError("not now")
        for socket in account.deriv.sockets:
            socket.abort()
        await account.clock.advance(0.1)
        asking = [exchange.asking(20), exchange.asking(20)]
        await account.clock.settle()
        for one in asking:
            one.cancel()
        await account.clock.settle()
        account.deriv.refuses_login = None
        await account.clock.advance(40)
        assert exchange.asked() == 0
        assert len((await exchange.told(20)).ticks) == 20


async def test_the_deadline_of_the_first_is_not_that_of_the_others(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        account.deriv.refuses_login = LoginError("not now")
        for socket in account.deriv.sockets:
            socket.abort()
        await account.clock.advance(0.1)
        hasty = exchange.asking(20, deadline_s=2)
        patient = [exchange.asking(20, deadline_s=60) for _ in range(10)]
        await account.clock.advance(3)
        with pytest.raises(DeniedError, match="no usable connection"):
            await hasty
        account.deriv.refuses_login = None
        await account.clock.advance(40)
        assert {len((await one).ticks) for one in patient} == {20}
        assert exchange.asked() == 1


async def test_a_deadline_ends_the_waiting_for_somebody_elses_call(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        held: list[tuple[Socket, Frame]] = []
        account.deriv.on["ticks_history"] = lambda socket, frame: held.append((socket, frame))
        first, second = exchange.asking(20), exchange.asking(20, deadline_s=3)
        await account.clock.advance(4)
        with pytest.raises(AnswerLostError, match="Deadline"):
            await second
        exchange.history(*held[0])
        await account.clock.settle()
        assert len((await first).ticks) == 20


async def test_a_call_that_was_sent_a_while_ago_is_not_joined(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        held: list[tuple[Socket, Frame]] = []
        account.deriv.on["ticks_history"] = lambda socket, frame: held.append((socket, frame))
        first = exchange.asking(20)
        await account.clock.advance(3.5)
        second = exchange.asking(20)
        await account.clock.settle()
        assert len(held) == 2
        for frame in reversed(held):
            exchange.history(*frame)
        await account.clock.settle()
        assert len((await first).ticks) == len((await second).ticks) == 20


async def test_a_refusal_is_told_to_all_and_not_remembered(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        account.deriv.on["ticks_history"] = lambda socket, frame: account.deriv.refuse(socket, frame, "MarketIsClosed")
        asking = [exchange.asking(20) for _ in range(5)]
        await account.clock.settle()
        for outcome in await asyncio.gather(*asking, return_exceptions=True):
            assert isinstance(outcome, CallRefusedError)
        assert exchange.asked() == 1
        account.deriv.on["ticks_history"] = exchange.history
        assert len((await exchange.told(20)).ticks) == 20
        assert account.savings.counts["history"] == 0


@pytest.mark.parametrize("granularity_s", [0, 60])
async def test_the_past_is_asked_for_once(opened: Opened, granularity_s: int) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        end_s = exchange.now_s - 7200
        first = await exchange.told(30, granularity_s, end_s)
        assert await exchange.told(30, granularity_s, end_s) is first
        assert exchange.asked() == 1
        assert exchange.sources() == {"deriv": 1, "local": 1}
        if granularity_s:
            assert as_candles(list(first.candles)) == candles(end_s, 30, 60)
        else:
            assert as_prices(list(first.ticks)) == quotes("1", SYMBOL, end_s - 29, end_s)
        await exchange.told(30, granularity_s, end_s - 1)
        assert exchange.asked() == 2


async def test_what_is_not_past_yet_is_asked_for_again(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        for end_s in (exchange.now_s - 1, exchange.now_s + 100):
            for _ in range(2):
                await exchange.told(30, 0, end_s)
        assert exchange.asked() == 4


async def test_a_past_that_the_ticks_reach_back_to_is_told_here(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        await exchange.told(100)
        end_s = exchange.now_s - 30
        told = await exchange.told(70, 0, end_s)
        assert as_prices(list(told.ticks)) == quotes("1", SYMBOL, end_s - 69, end_s)
        assert exchange.asked() == 1
        await exchange.told(72, 0, end_s)
        assert exchange.asked() == 2


async def test_ticks_are_kept_coming_for_a_while_after_the_last_request(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        await exchange.told(100)
        await exchange.tick(10)
        await exchange.told(100)
        await account.clock.advance(KEPT_S - 1)
        assert len(exchange.streams) == 1
        await account.clock.advance(2)
        assert exchange.streams == {}
        await exchange.told(100)
        assert (exchange.asked("ticks"), exchange.asked()) == (2, 2)


async def test_a_symbol_that_deriv_does_not_know_opens_no_stream(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        account.deriv.on["ticks_history"] = lambda socket, frame: account.deriv.refuse(socket, frame, "InvalidSymbol")
        asking = exchange._ask(HistoryQuery("NEW_5", 5, 0, 0), "one", account.clock.now_ns() + 10**9)  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(CallRefusedError):
            await asking
        await account.clock.settle()
        assert exchange.asked("ticks") == 0


async def test_a_stream_that_is_refused_is_left_alone_and_histories_go_on(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        account.deriv.on["ticks"] = lambda socket, frame: account.deriv.refuse(socket, frame, "MarketIsClosed")
        for _ in range(3):
            assert len((await exchange.told(20)).ticks) == 20
            await account.clock.advance(1)
        assert (exchange.asked("ticks"), exchange.asked()) == (1, 3)
        account.deriv.on["ticks"] = exchange.ticks
        with account.feeds.ticks([SYMBOL]) as watch:
            await account.clock.settle()
            assert not isinstance(await watch.next(), CallRefusedError)


async def test_who_joins_a_stream_saves_a_call(opened: Opened) -> None:
    async with opened() as account:
        Exchange(account)
        with account.feeds.ticks([SYMBOL]), account.feeds.ticks([SYMBOL, SYMBOL, "R_50"]):
            assert account.savings.counts["ticks"] == 1
        with account.feeds.contract(7), account.feeds.contract(7):
            assert account.savings.counts["contract"] == 1


async def test_a_contract_that_is_watched_is_looked_at_here(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        with account.feeds.contract(7):
            await exchange.tick()
            exchange.contract = {**CONTRACT, "bid_price": "1.23"}
            await exchange.tick()
            state = await exchange.looking()
            assert state is not None
            assert state.bid_price == Decimal("1.23")
            assert exchange.asked("proposal_open_contract") == 1
            await account.clock.advance(3.1)  # nothing comes
            looks = [exchange.looking() for _ in range(10)]
            await account.clock.settle()
            await asyncio.gather(*looks)
            assert exchange.asked("proposal_open_contract") == 2
        assert exchange.sources() == {"local": 1, "deriv": 1, "shared": 9}
        assert account.savings.counts["contract"] == 10


async def test_a_contract_that_is_over_is_not_told_as_it_was_before(opened: Opened) -> None:
    async with opened() as account:
        exchange = Exchange(account)
        with account.feeds.contract(7):
            await exchange.tick()
            exchange.contract = {**CONTRACT, "is_sold": 1, "sell_price": "1.95"}
            over = exchange.looking(is_over=True)
            await account.clock.settle()
            state = await over
            assert state is not None
            assert state.is_sold
            assert exchange.asked("proposal_open_contract") == 2
            await exchange.tick()
            await account.clock.advance(60)  # the last state stays the last
            assert await exchange.looking(is_over=True) is not None
            assert exchange.asked("proposal_open_contract") == 2


def test_frames_here_are_those_of_the_dialect() -> None:
    """The market above writes its frames by hand; they must be what the codec reads."""
    frame = json.loads(to_json({"msg_type": "proposal_open_contract", "proposal_open_contract": CONTRACT}))
    state = CODEC.decode_contract(frame)
    assert state is not None
    assert (state.contract_id, state.is_sold) == (7, False)

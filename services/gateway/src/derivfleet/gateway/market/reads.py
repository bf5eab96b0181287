"""What bots ask of Deriv and need not ask each for itself: histories, and how a contract stands.

An answer comes from what is known here if that is as good as Deriv's; else from a call that is under way for somebody
who asked the same; else from a call of its own, after which the next one may be answered here.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from derivfleet.common.spans import Attribute
from derivfleet.connection.connection import AnswerLostError
from derivfleet.deriv import requests
from derivfleet.deriv.errors import MalformedAnswer
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.vocabulary import Call, HistoryStyle
from derivfleet.gateway.core.market.coalescing import (
    Cache,
    HistoryQuery,
    KeptStreams,
    Saving,
    Savings,
    Source,
    rows_to_ask,
)
from derivfleet.gateway.market.in_flight import InFlightCalls
from derivfleet.gateway.rpc.messages import history_message
from derivfleet.gateway.upstream.pool import ConnectionRole

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.common.telemetry import OpenSpan
    from derivfleet.deriv.answers import ContractState, History
    from derivfleet.gateway.core.market.history import RecentTicks
    from derivfleet.gateway.market.feeds import Feeds
    from derivfleet.gateway.upstream.client import AccountClient
    from derivfleet.v1.trading_pb2 import HistoryResponse

__all__ = ["Reads"]

KEPT_S = 300.0
"""How long a symbol's ticks are kept coming after somebody asked for its latest prices."""
KEPT_STREAMS = 30
"""Of the 100 that a socket may hold; the others are for those who watch."""
FIRST_TICK_S = 1.0
"""How long a first request for candles waits for the stream that its answer is to be joined to."""
GOOD_S = 3.0
"""How old a contract's state may be, and a call under way for it to be joined: one tick of the slowest market and a
second for the way."""
LEAST_WALL_S = 0.25
"""No span here is shorter: networks and processors do not run faster when the clock does."""
PAST_BYTES = 4_000_000
"""Of answers about the past, as they go over the wire. In memory they take about four times that."""
READY_SHAPES = 16
"""How many different answers about one symbol are kept ready between two ticks."""


class Reads:
    """The shared reads of one account. What it returns is shared too, and must not be changed."""

    def __init__(self, client: AccountClient, feeds: Feeds, savings: Savings) -> None:
        self._client = client
        self._clock = clock = client.clock
        self._feeds = feeds
        self._savings = savings
        self._codec = client.pool.login.codec
        least_s = clock.fleet_s(LEAST_WALL_S)
        self._good_ns = round(max(GOOD_S, least_s) * 1e9)
        self._first_tick_s = max(FIRST_TICK_S, least_s)
        self._past: Cache[HistoryQuery, HistoryResponse] = Cache(PAST_BYTES)
        self._pasts: InFlightCalls[HistoryResponse] = InFlightCalls(Call.TICKS_HISTORY, clock, self._good_ns)
        self._latest: InFlightCalls[History] = InFlightCalls(Call.TICKS_HISTORY, clock, self._good_ns)
        self._contracts: InFlightCalls[ContractState | None] = InFlightCalls(
            Call.PROPOSAL_OPEN_CONTRACT, clock, self._good_ns
        )
        self._kept = KeptStreams(KEPT_STREAMS, round(KEPT_S * 1e9))
        self._holds: dict[str, Callable[[], None]] = {}
        self._reaper: asyncio.Task[None] | None = None
        self._stopped = False

    async def history(self, bot: str, asked: HistoryQuery, deadline_ns: int, span: OpenSpan) -> HistoryResponse:
        """Past ticks or candles. Raises as :meth:`AccountClient.call` does."""
        if asked.end_epoch_s:
            message, source = self._known_past(asked), Source.LOCAL
            if message is None:
                message, source = await self._pasts.join(
                    asked, deadline_ns, lambda sent: self._ask_past(bot, asked, deadline_ns, span, sent)
                )
        else:
            message, source = self._known_latest(asked), Source.LOCAL
            if message is None:
                message, source = await self._asked_latest(bot, asked, deadline_ns, span)
        self._told(source, Saving.HISTORY, span)
        return message

    async def contract(
        self, bot: str, contract_id: int, deadline_ns: int, span: OpenSpan, *, is_over: bool
    ) -> ContractState | None:
        """How a contract stands, None if Deriv does not know it. Raises as :meth:`AccountClient.call` does.

        ``is_over`` tells that the contract is known to be sold: then a state of before that will not do.
        """
        state, source = self._feeds.contract_now(contract_id, self._good_ns), Source.LOCAL
        if state is None or (is_over and not state.is_sold):
            state, source = await self._contracts.join(
                (contract_id, is_over),
                deadline_ns,
                lambda sent: self._ask_contract(bot, contract_id, deadline_ns, span, sent),
            )
        self._told(source, Saving.CONTRACT, span)
        return state

    def stop(self) -> None:
        """Keep no streams any more, when the sockets are about to close."""
        self._stopped = True
        if self._reaper is not None:
            self._reaper.cancel()

    def _told(self, source: Source, saving: Saving, span: OpenSpan) -> None:
        span.set({Attribute.SOURCE: source})
        if source is not Source.DERIV:
            self._savings.count(saving)

    # The past

    def _known_past(self, asked: HistoryQuery) -> HistoryResponse | None:
        message = self._past.get(asked)
        if message is None and not asked.granularity_s:
            recent = self._feeds.recent(asked.symbol)
            prices = None if recent is None else recent.until(asked.end_epoch_s, asked.rows)
            if recent is not None and prices is not None:
                message = history_message(asked.symbol, 0, prices, (), recent.decimals or 0)
                self._past.put(asked, message, message.ByteSize())
        return message

    async def _ask_past(
        self, bot: str, asked: HistoryQuery, deadline_ns: int, span: OpenSpan, sent: Callable[[], None]
    ) -> HistoryResponse:
        history = await self._ask(bot, asked, asked.rows, deadline_ns, span, sent)
        message = history_message(
            asked.symbol, asked.granularity_s, history.prices, history.candles, history.decimals or 0
        )
        last_s = history.prices[-1][0] if history.prices else history.candles[-1].epoch_s if history.candles else None
        if last_s is not None and asked.is_closed(last_s, self._clock.now_ns()):
            self._past.put(asked, message, message.ByteSize())
        return message

    # The latest

    def _known_latest(self, asked: HistoryQuery) -> HistoryResponse | None:
        recent = self._feeds.recent(asked.symbol)
        if recent is None or not self._feeds.is_open(asked.symbol):
            return None
        self._keep(asked.symbol)
        now_ns = self._clock.now_ns()
        message: HistoryResponse | None = recent.answers.get(asked) if recent.is_current(now_ns) else None
        if message is None:
            message = _told(recent, asked, now_ns)
            if message is not None and len(recent.answers) < READY_SHAPES:
                recent.answers[asked] = message
        return message

    async def _asked_latest(
        self, bot: str, asked: HistoryQuery, deadline_ns: int, span: OpenSpan
    ) -> tuple[HistoryResponse, Source]:
        if asked.symbol in SYMBOLS:
            self._keep(asked.symbol)  # of other symbols Deriv has to show first that it knows them
        rows = rows_to_ask(asked.rows)
        history, source = await self._latest.join(
            (asked.symbol, asked.granularity_s, rows),
            deadline_ns,
            lambda sent: self._ask_latest(bot, asked, rows, deadline_ns, span, sent),
        )
        message = self._known_latest(asked)  # made once for all who waited, and with ticks that came meanwhile
        if message is None:
            message = history_message(
                asked.symbol,
                asked.granularity_s,
                history.prices[-asked.rows :],
                history.candles[-asked.rows :],
                history.decimals or 0,
            )
        return message, source

    async def _ask_latest(
        self, bot: str, asked: HistoryQuery, rows: int, deadline_ns: int, span: OpenSpan, sent: Callable[[], None]
    ) -> History:
        symbol, granularity_s = asked.symbol, asked.granularity_s
        if granularity_s:
            await self._feeds.begun(symbol, self._first_tick_s)
        before = self._feeds.recent(symbol)
        mark, now_ns = None, self._clock.now_ns()

        def sending() -> None:
            nonlocal mark, now_ns
            now_ns = self._clock.now_ns()
            mark = None if before is None else before.mark(now_ns)
            sent()

        history = await self._ask(bot, asked, rows, deadline_ns, span, sending)
        self._keep(symbol)
        recent = self._feeds.recent(symbol)
        if recent is not None and not granularity_s:
            recent.fill(history.prices, rows, history.decimals or 0, now_ns)
        elif recent is not None and recent is before:
            recent.fill_candles(granularity_s, history.candles, rows, mark)
        return history

    async def _ask(
        self, bot: str, asked: HistoryQuery, rows: int, deadline_ns: int, span: OpenSpan, sending: Callable[[], None]
    ) -> History:
        request = requests.TicksHistory(
            ticks_history=asked.symbol,
            end=str(asked.end_epoch_s) if asked.end_epoch_s else "latest",
            count=rows,
            style=HistoryStyle.CANDLES if asked.granularity_s else HistoryStyle.TICKS,
            granularity=cast("Any", asked.granularity_s or None),  # one of the literals: checked by the caller
        )
        known = SYMBOLS.get(asked.symbol)
        frame = await self._client.call(bot, request, ConnectionRole.HISTORY, deadline_ns, span.context, sending)
        try:
            history = self._codec.decode_history(frame, None if known is None else known.decimals)
        except MalformedAnswer:
            raise AnswerLostError(Call.TICKS_HISTORY, "MalformedAnswer", handed_over=True) from None
        return history if history.decimals is not None else replace(history, decimals=_decimals(history))

    # Streams that are kept open

    def _keep(self, symbol: str) -> None:
        if self._stopped or not self._kept.ask(symbol, self._clock.now_ns()) or symbol in self._holds:
            return
        self._holds[symbol] = self._feeds.hold(symbol, lambda: self._refused(symbol))
        if self._reaper is None or self._reaper.done():
            self._reaper = asyncio.create_task(self._reap(), name=f"end kept streams of {self._client.account}")

    def _refused(self, symbol: str) -> None:
        self._kept.refuse(symbol)
        self._release(symbol)

    def _release(self, symbol: str) -> None:
        release = self._holds.pop(symbol, None)
        if release is not None:
            release()

    async def _reap(self) -> None:
        while (wake_ns := self._kept.wake_ns) is not None:
            await self._clock.sleep_until_ns(wake_ns)
            for symbol in self._kept.due(self._clock.now_ns()):
                self._release(symbol)

    # Contracts

    async def _ask_contract(
        self, bot: str, contract_id: int, deadline_ns: int, span: OpenSpan, sent: Callable[[], None]
    ) -> ContractState | None:
        request = requests.ProposalOpenContract(proposal_open_contract=1, contract_id=contract_id)
        frame = await self._client.call(bot, request, deadline_ns=deadline_ns, parent=span.context, on_sending=sent)
        try:
            return self._codec.decode_contract(frame)
        except MalformedAnswer:
            raise AnswerLostError(Call.PROPOSAL_OPEN_CONTRACT, "MalformedAnswer", handed_over=True) from None


def _told(recent: RecentTicks, asked: HistoryQuery, now_ns: int) -> HistoryResponse | None:
    """The latest prices, as a message; None if Deriv has to be asked."""
    decimals = recent.decimals or 0
    if asked.granularity_s:
        candles = recent.candles(asked.granularity_s, asked.rows, now_ns)
        return None if candles is None else history_message(asked.symbol, asked.granularity_s, (), candles, decimals)
    prices = recent.latest(asked.rows, now_ns)
    return None if prices is None else history_message(asked.symbol, 0, prices, (), decimals)


def _decimals(history: History) -> int:
    """Of an answer that does not tell them."""
    return max((-cast("int", quote.as_tuple().exponent) for _, quote in history.prices), default=0)

"""Answers about markets: ticks, histories, the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.deriv.answers import History, SymbolRow
from derivfleet.deriv.errors import RequestRefused
from derivfleet.deriv.offers import offers_of
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.vocabulary import Call, HistoryStyle, StreamType
from derivfleet.simulator.core.broadcasts import tick_update
from derivfleet.simulator.core.market import symbol_named

if TYPE_CHECKING:
    from derivfleet.deriv import requests
    from derivfleet.deriv.dialects import Frame
    from derivfleet.deriv.symbols import Symbol
    from derivfleet.simulator.core.request_context import RequestContext

__all__ = ["active_symbols", "contracts_for", "ticks", "ticks_history"]

_DEFAULT_COUNT = 1000
_DEFAULT_GRANULARITY_S = 60
_DAY_S = 86_400


def ticks(context: RequestContext, request: requests.Ticks) -> list[Frame]:
    """The latest tick of each symbol; with a subscription, one stream per symbol."""
    names = [request.ticks] if isinstance(request.ticks, str) else request.ticks
    for name in names:
        symbol_named(name)
    frames: list[Frame] = []
    for name in names:
        stream_id = None
        if request.subscribe:
            stream_id = context.connection.streams.open(Call.TICKS, ("ticks", name), StreamType.TICKS, context.echo).id
        frames.append(context.codec.encode_tick(tick_update(context.exchange, name, context.now_s, stream_id)))
    return frames


def ticks_history(context: RequestContext, request: requests.TicksHistory) -> list[Frame]:
    """Past ticks or candles; with a subscription, the running ones follow."""
    symbol = symbol_named(request.ticks_history)
    as_candles = request.style is HistoryStyle.CANDLES
    granularity_s = (request.granularity or _DEFAULT_GRANULARITY_S) if as_candles else 0
    start_s, end_s = _range(context, request)
    stream_id = None
    if request.subscribe:
        kind = StreamType.CANDLES if as_candles else StreamType.TICKS
        key = ("history", symbol.name, granularity_s)
        stream_id = context.connection.streams.open(Call.TICKS_HISTORY, key, kind, context.echo).id
    if as_candles:
        history = _candles(context, symbol, granularity_s, start_s, end_s, request.count, stream_id)
    else:
        history = _ticks(context, symbol, start_s, end_s, request.count, stream_id)
    return [context.codec.encode_history(history, as_candles=as_candles)]


def _range(context: RequestContext, request: requests.TicksHistory) -> tuple[int | None, int]:
    """Start (None: as far back as the count goes) and end. A range too far back is the latest one instead."""
    end_s = context.now_s if request.end == "latest" else min(int(request.end), context.now_s)
    oldest_s = context.now_s - context.exchange.settings.history_days * _DAY_S
    if end_s < oldest_s or (request.start is not None and request.start < oldest_s):
        return None, context.now_s
    if request.start is not None and request.start > end_s:
        raise RequestRefused("InvalidStartEnd", f"Start time {request.start} must be before end time {end_s}.")
    return request.start, end_s


def _count(asked: int | None, most: int, *, has_start: bool) -> int:
    """How many at most. Without a count: all since a start, or a thousand."""
    if asked is None or asked < 1:
        return most if has_start else min(_DEFAULT_COUNT, most)
    return min(asked, most)


def _ticks(
    context: RequestContext, symbol: Symbol, start_s: int | None, end_s: int, count: int | None, stream_id: str | None
) -> History:
    most = _count(count, context.exchange.settings.history_ticks, has_start=start_s is not None)
    first_s = symbol.tick_epoch(end_s) - (most - 1) * symbol.tick_spacing_s
    quotes = context.exchange.market.quotes(symbol.name, max(first_s, start_s or 0), end_s)
    return History(prices=tuple(quotes), decimals=symbol.decimals, stream_id=stream_id)


def _candles(
    context: RequestContext,
    symbol: Symbol,
    granularity_s: int,
    start_s: int | None,
    end_s: int,
    count: int | None,
    stream_id: str | None,
) -> History:
    settings = context.exchange.settings
    most = _count(count, settings.history_candles, has_start=start_s is not None)
    last_s = end_s - end_s % granularity_s
    first_s = last_s - (most - 1) * granularity_s
    if start_s is not None:
        first_s = max(first_s, start_s - start_s % granularity_s)
    oldest_s = context.now_s - settings.history_days * _DAY_S
    first_s = max(first_s, oldest_s - oldest_s % granularity_s)
    market = context.exchange.market
    found = tuple(
        market.candle(symbol.name, granularity_s, epoch_s, end_s)
        for epoch_s in range(first_s, last_s + 1, granularity_s)
    )
    return History(candles=found, decimals=symbol.decimals, stream_id=stream_id)


def active_symbols(context: RequestContext, _request: requests.ActiveSymbols) -> list[Frame]:
    """All symbols: these markets never close, and every type is offered on every symbol."""
    rows = [SymbolRow(symbol.name, symbol.display_name, symbol.pip, True, False) for symbol in SYMBOLS.values()]
    return [context.codec.encode_active_symbols(rows)]


def contracts_for(context: RequestContext, request: requests.ContractsFor) -> list[Frame]:
    """What can be traded on a symbol."""
    return [context.codec.encode_contracts_for(offers_of(symbol_named(request.contracts_for).name))]

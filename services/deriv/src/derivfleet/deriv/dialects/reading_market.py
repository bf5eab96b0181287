"""Answers about markets, prices and the server, read from the wire."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, cast

from derivfleet.deriv.answers import ErrorAnswer, History, OhlcUpdate, Quote, SymbolRow, TickUpdate
from derivfleet.deriv.candles import Candle
from derivfleet.deriv.dialects.fields import SYMBOL_NAMES, Fields, payload, stream_id_of
from derivfleet.deriv.errors import MalformedAnswer
from derivfleet.deriv.ticks import Tick

if TYPE_CHECKING:
    from derivfleet.deriv.dialects.numbers import Frame

__all__ = [
    "decode_active_symbols",
    "decode_call_limits",
    "decode_error",
    "decode_history",
    "decode_ohlc",
    "decode_proposal",
    "decode_tick",
    "decode_time",
]

_MOST_DECIMALS = 12


def decode_error(frame: Frame) -> ErrorAnswer | None:
    """The error in a frame; None if it holds none."""
    if frame.get("error") is None:
        return None
    error = payload(frame, "error")
    details = error.values.get("details")
    texts = {str(key): str(value) for key, value in cast("Frame", details).items()} if isinstance(details, dict) else {}
    return ErrorAnswer(error.text("code"), error.text_or_none("message") or "", texts)


def decode_time(frame: Frame) -> int:
    """The server's clock, epoch seconds."""
    return Fields("answer", frame).integer("time")


def decode_call_limits(frame: Frame) -> dict[str, dict[str, object]]:
    """``website_status.api_call_limits``, for ``limits.with_website_status``; empty if it was not sent."""
    limits = payload(frame, "website_status").child("api_call_limits").values
    return {key: cast("dict[str, object]", value) for key, value in limits.items() if isinstance(value, dict)}


def decode_proposal(frame: Frame) -> Quote:
    """A price. Only its id is certain."""
    proposal = payload(frame, "proposal")
    bounds = proposal.child("validation_params")
    return Quote(
        id=proposal.text("id"),
        ask_price=proposal.number_or_none("ask_price"),
        payout=proposal.number_or_none("payout"),
        spot=proposal.number_or_none("spot"),
        spot_s=proposal.integer_or_none("spot_time"),
        start_s=proposal.integer_or_none("date_start"),
        expiry_s=proposal.integer_or_none("date_expiry"),
        longcode=proposal.text_or_none("longcode"),
        minimum_stake=bounds.child("stake").number_or_none("min"),
        maximum_payout=bounds.child("payout").number_or_none("max"),
        stream_id=stream_id_of(frame),
    )


def _at(quote: Decimal, decimals: int | None) -> Decimal:
    """A quote with its trailing zeros back; as it is if the symbol's decimals are not known."""
    if decimals is None:
        return quote
    try:
        return quote.quantize(Decimal(1).scaleb(-decimals))
    except InvalidOperation:
        raise MalformedAnswer(f"quote {quote} does not fit {decimals} decimals") from None


def _decimals(fields: Fields) -> int | None:
    decimals = fields.integer_or_none("pip_size")
    if decimals is not None and not 0 <= decimals <= _MOST_DECIMALS:
        raise MalformedAnswer(f"{fields.place}.pip_size is no number of decimals: {decimals}")
    return decimals


def decode_tick(frame: Frame, decimals: int | None = None) -> TickUpdate:
    """One tick.

    ``decimals`` is the symbol's, for the case that the message leaves ``pip_size`` out; if neither tells, the quote's
    own decimals are taken and the last digit may be wrong.
    """
    tick = payload(frame, "tick")
    quote = tick.number("quote")
    places = _decimals(tick)
    if places is None:
        places = decimals if decimals is not None else max(0, -cast("int", quote.as_tuple().exponent))
    return TickUpdate(
        tick=Tick(tick.text(tick.first_of(*SYMBOL_NAMES)), tick.integer("epoch"), _at(quote, places), places),
        bid=tick.number_or_none("bid"),
        ask=tick.number_or_none("ask"),
        stream_id=stream_id_of(frame),
    )


def _candle(fields: Fields, epoch_name: str, decimals: int | None) -> Candle:
    return Candle(
        fields.integer(epoch_name),
        *(_at(fields.number(name), decimals) for name in ("open", "high", "low", "close")),
    )


def decode_history(frame: Frame, decimals: int | None = None) -> History:
    """The first answer of ``ticks_history``, ticks or candles; ``decimals`` as for :func:`decode_tick`."""
    whole = Fields("answer", frame)
    places = _decimals(whole)
    places = decimals if places is None else places
    if "candles" in frame:
        candles = tuple(_candle(row, "epoch", places) for row in whole.rows("candles"))
        return History(candles=candles, decimals=places, stream_id=stream_id_of(frame))
    history = payload(frame, "history")
    times, prices = history.items("times"), history.items("prices")
    if len(times) != len(prices):
        raise MalformedAnswer(f"history has {len(times)} times and {len(prices)} prices")
    pairs = (Fields("history", {"time": time, "price": price}) for time, price in zip(times, prices, strict=True))
    return History(
        prices=tuple((pair.integer("time"), _at(pair.number("price"), places)) for pair in pairs),
        decimals=places,
        stream_id=stream_id_of(frame),
    )


def decode_ohlc(frame: Frame, decimals: int | None = None) -> OhlcUpdate:
    """The running candle; ``decimals`` as for :func:`decode_tick`."""
    ohlc = payload(frame, "ohlc")
    places = _decimals(ohlc)
    places = decimals if places is None else places
    return OhlcUpdate(
        symbol=ohlc.text(ohlc.first_of(*SYMBOL_NAMES)),
        candle=_candle(ohlc, "open_time", places),
        granularity_s=ohlc.integer("granularity"),
        epoch_s=ohlc.integer("epoch"),
        decimals=places,
        stream_id=stream_id_of(frame),
    )


def decode_active_symbols(frame: Frame) -> tuple[SymbolRow, ...]:
    """Symbols on offer."""
    return tuple(
        SymbolRow(
            symbol=row.text(row.first_of(*SYMBOL_NAMES)),
            display_name=row.text_or_none(row.first_of("underlying_symbol_name", "display_name")) or "",
            pip=row.number(row.first_of("pip_size", "pip")),
            is_open=row.flag("exchange_is_open"),
            is_suspended=row.flag("is_trading_suspended"),
        )
        for row in Fields("answer", frame).rows("active_symbols")
    )

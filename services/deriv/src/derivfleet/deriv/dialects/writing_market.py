"""Answers about markets, prices and the server, written for the wire. As in ``writing_account``, without the echo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from derivfleet.deriv.dialects.writing_account import framed, present
from derivfleet.deriv.vocabulary import Call

if TYPE_CHECKING:
    from collections.abc import Iterable

    from derivfleet.deriv.answers import ErrorAnswer, History, OhlcUpdate, Quote, SymbolRow, TickUpdate
    from derivfleet.deriv.candles import Candle
    from derivfleet.deriv.dialects.naming import Naming
    from derivfleet.deriv.dialects.numbers import Frame
    from derivfleet.deriv.limits import Bucket, LimitsTable
    from derivfleet.deriv.offers import Offer

__all__ = [
    "encode_active_symbols",
    "encode_contracts_for",
    "encode_error",
    "encode_history",
    "encode_ohlc",
    "encode_proposal",
    "encode_tick",
    "encode_website_status",
]

_MARKET = {"market": "synthetic_index", "submarket": "random_index"}


def encode_error(msg_type: str, error: ErrorAnswer) -> Frame:
    """A refusal. ``msg_type`` is the request's own key, or "error" if that is not known."""
    content: Frame = {"code": error.code, "message": error.message}
    if error.details:
        content["details"] = error.details
    return {"msg_type": msg_type, "error": content}


def encode_tick(update: TickUpdate) -> Frame:
    """One tick. Trailing zeros are lost in JSON; ``pip_size`` is the number of decimals."""
    tick = update.tick
    content = present(
        symbol=tick.symbol,
        epoch=tick.epoch_s,
        quote=tick.quote,
        bid=update.bid,
        ask=update.ask,
        pip_size=tick.decimals,
        id=update.stream_id,
    )
    return framed("tick", content, update.stream_id)


def _candle(candle: Candle) -> Frame:
    return {
        "epoch": candle.epoch_s,
        "open": candle.open,
        "high": candle.high,
        "low": candle.low,
        "close": candle.close,
    }


def encode_history(history: History, *, as_candles: bool) -> Frame:
    """The first answer of ``ticks_history``."""
    if as_candles:
        frame = framed("candles", [_candle(candle) for candle in history.candles], history.stream_id)
    else:
        content: dict[str, list[Any]] = {
            "times": [epoch_s for epoch_s, _ in history.prices],
            "prices": [quote for _, quote in history.prices],
        }
        frame = framed("history", content, history.stream_id)
    if history.decimals is not None:
        frame["pip_size"] = history.decimals
    return frame


def encode_ohlc(update: OhlcUpdate) -> Frame:
    """The running candle. Prices are strings here; not in the published schemas."""
    candle = update.candle
    content = present(
        symbol=update.symbol,
        open_time=candle.epoch_s,
        epoch=update.epoch_s,
        granularity=update.granularity_s,
        open=f"{candle.open:f}",
        high=f"{candle.high:f}",
        low=f"{candle.low:f}",
        close=f"{candle.close:f}",
        pip_size=update.decimals,
        id=update.stream_id,
    )
    return framed("ohlc", content, update.stream_id)


def encode_proposal(naming: Naming, quote: Quote) -> Frame:
    """A price."""
    content = present(
        id=quote.id,
        ask_price=quote.ask_price,
        payout=quote.payout,
        spot=quote.spot,
        spot_time=quote.spot_s,
        date_start=quote.start_s,
        date_expiry=quote.expiry_s,
        longcode=quote.longcode,
    )
    bounds: Frame = {}
    if quote.minimum_stake is not None:
        bounds["stake"] = {"min": f"{quote.minimum_stake:.2f}"}
    if quote.maximum_payout is not None:
        bounds["payout"] = {"max": f"{quote.maximum_payout:.2f}"}
    content["validation_params"] = bounds
    if not naming.money_as_text:
        content["display_value"] = f"{quote.ask_price:.2f}"
    return framed(Call.PROPOSAL, content, quote.stream_id)


def encode_active_symbols(naming: Naming, rows: Iterable[SymbolRow]) -> Frame:
    """Symbols on offer."""
    return framed(
        Call.ACTIVE_SYMBOLS,
        [_legacy_symbol(row, order) if naming.has_app_id else _symbol(row) for order, row in enumerate(rows, 1)],
    )


def _symbol(row: SymbolRow) -> Frame:
    return {
        "underlying_symbol": row.symbol,
        "underlying_symbol_name": row.display_name,
        "underlying_symbol_type": "",
        **_MARKET,
        "subgroup": "synthetics",
        "pip_size": row.pip,
        "exchange_is_open": int(row.is_open),
        "is_trading_suspended": int(row.is_suspended),
        "trade_count": 0,
    }


def _legacy_symbol(row: SymbolRow, order: int) -> Frame:
    return {
        "symbol": row.symbol,
        "display_name": row.display_name,
        "symbol_type": "",
        **_MARKET,
        "market_display_name": "Derived",
        "submarket_display_name": "Continuous Indices",
        "subgroup": "synthetics",
        "subgroup_display_name": "Synthetics",
        "display_order": order,
        "pip": row.pip,
        "exchange_is_open": int(row.is_open),
        "is_trading_suspended": int(row.is_suspended),
    }


def encode_contracts_for(naming: Naming, offers: Iterable[Offer]) -> Frame:
    """What can be traded on a symbol."""
    rows = [_offer(naming, offer) for offer in offers]
    return framed(Call.CONTRACTS_FOR, {"available": rows, "hit_count": len(rows)})


def _offer(naming: Naming, offer: Offer) -> Frame:
    kind, category, span = offer.contract_type, offer.category, offer.span
    row: Frame = {
        "contract_type": kind.name,
        "contract_category": category.name,
        "barriers": kind.barriers,
        "expiry_type": span.expiry_type,
        "min_contract_duration": span.shortest,
        "max_contract_duration": span.longest,
        "sentiment": kind.sentiment,
        "underlying_symbol": offer.symbol,
        **_MARKET,
    }
    if kind.digits:
        row["last_digit_range"] = list(kind.digits)
    if naming.has_app_id:
        row |= {
            "barrier_category": category.barrier_category,
            "contract_category_display": category.title,
            "exchange_name": "RANDOM",
            "start_type": "spot",
        }
    return row


def _limit(bucket: Bucket) -> Frame:
    per_minute, per_hour = (bucket.windows[span_s] for span_s in (60, 3600))
    return {
        "applies_to": ", ".join(sorted(bucket.calls)) or "rest of calls",
        "minutely": per_minute,
        "hourly": per_hour,
    }


def encode_website_status(limits: LimitsTable, stream_id: str | None = None) -> Frame:
    """The server's state and its call limits (legacy)."""
    content: Frame = {
        "site_status": "up",
        "api_call_limits": {
            "max_proposal_subscription": {
                "applies_to": "subscribing to proposal concurrently",
                "max": limits.streams.proposals_per_connection or limits.streams.per_connection,
            },
            "max_requestes_general": _limit(limits.buckets["general"]),  # Deriv's own spelling
            "max_requests_outcome": _limit(limits.buckets["outcome"]),
            "max_requests_pricing": _limit(limits.buckets["pricing"]),
        },
        "currencies_config": {
            "USD": {
                "type": "fiat",
                "fractional_digits": 2,
                "stake_default": 10,
                "is_suspended": 0,
                "is_deposit_suspended": 0,
                "is_withdrawal_suspended": 0,
                "transfer_between_accounts": {"fees": {}, "limits": None},
            }
        },
    }
    return framed(Call.WEBSITE_STATUS, content, stream_id)

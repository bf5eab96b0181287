"""The names and attributes of every span. ``docs/telemetry.md`` shows this table; a test keeps the two equal."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["SPANS", "Attribute", "SpanKind", "SpanName"]


class SpanName(StrEnum):
    """What a span measures."""

    TRADE = "trade"
    DECIDE = "trade.decide"
    BUY = "trade.buy"
    FOLLOW = "trade.follow"
    GATEWAY_BUY = "gateway.buy"
    GATEWAY_SELL = "gateway.sell"
    GATEWAY_CHECK = "gateway.check"
    GATEWAY_HISTORY = "gateway.history"
    GATEWAY_STREAM = "gateway.stream"
    GATEWAY_QUOTA = "gateway.quota"
    QUOTA_WAIT = "quota.wait"
    DERIV_CALL = "deriv.call"
    SETTLE = "order.settle"


class Attribute(StrEnum):
    """What a span says. Values are strings, integers or booleans; money is a decimal string."""

    ACCOUNT = "derivfleet.account"
    BOT = "derivfleet.bot"
    STRATEGY = "derivfleet.strategy"
    SYMBOL = "derivfleet.symbol"
    ORDER_ID = "derivfleet.order_id"
    CONTRACT_ID = "derivfleet.contract_id"
    CONTRACT_TYPE = "derivfleet.contract_type"
    STATE = "derivfleet.state"
    STAKE = "derivfleet.stake"
    PROFIT = "derivfleet.profit"
    CALL = "derivfleet.call"
    BUCKET = "derivfleet.bucket"
    CONNECTION = "derivfleet.connection"
    ERROR_CODE = "derivfleet.error_code"
    RATE_REFUSED = "derivfleet.rate_refused"
    SOURCE = "derivfleet.source"


class SpanKind(StrEnum):
    """OpenTelemetry's kinds, as far as they are used."""

    INTERNAL = "internal"
    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class SpanType:
    """One row of the table."""

    service: str
    kind: SpanKind
    parent: SpanName | None
    measures: str
    attributes: tuple[Attribute, ...]


_A = Attribute
_ORDER = (_A.ACCOUNT, _A.BOT, _A.ORDER_ID)

SPANS: dict[SpanName, SpanType] = {
    SpanName.TRADE: SpanType(
        "bot",
        SpanKind.INTERNAL,
        None,
        "one trade, from the tick that made the bot decide to the bot's knowledge of its settlement",
        (*_ORDER, _A.STRATEGY, _A.SYMBOL, _A.CONTRACT_TYPE, _A.STAKE, _A.STATE, _A.PROFIT, _A.ERROR_CODE),
    ),
    SpanName.DECIDE: SpanType(
        "bot", SpanKind.INTERNAL, SpanName.TRADE, "the strategy decides", (_A.BOT, _A.STRATEGY, _A.SYMBOL)
    ),
    SpanName.BUY: SpanType(
        "bot", SpanKind.CLIENT, SpanName.TRADE, "the bot waits for the gateway's answer", (*_ORDER, _A.ERROR_CODE)
    ),
    SpanName.FOLLOW: SpanType(
        "bot", SpanKind.INTERNAL, SpanName.TRADE, "the bot waits for the settlement", (*_ORDER, _A.STATE)
    ),
    SpanName.GATEWAY_BUY: SpanType(
        "gateway",
        SpanKind.SERVER,
        SpanName.BUY,
        "a Buy call, from its arrival to its answer",
        (*_ORDER, _A.SYMBOL, _A.CONTRACT_TYPE, _A.STATE, _A.ERROR_CODE),
    ),
    SpanName.GATEWAY_SELL: SpanType(
        "gateway", SpanKind.SERVER, None, "a Sell, Cancel or UpdateContract call", (*_ORDER, _A.STATE, _A.ERROR_CODE)
    ),
    SpanName.GATEWAY_CHECK: SpanType(
        "gateway", SpanKind.SERVER, None, "a Check call", (*_ORDER, _A.SOURCE, _A.ERROR_CODE)
    ),
    SpanName.GATEWAY_HISTORY: SpanType(
        "gateway", SpanKind.SERVER, None, "a History call", (_A.ACCOUNT, _A.BOT, _A.SYMBOL, _A.SOURCE, _A.ERROR_CODE)
    ),
    SpanName.GATEWAY_STREAM: SpanType(
        "gateway",
        SpanKind.SERVER,
        None,
        "the opening of a stream (ticks, orders or one contract), up to its first message",
        (_A.ACCOUNT, _A.BOT, _A.ERROR_CODE),
    ),
    SpanName.GATEWAY_QUOTA: SpanType(
        "gateway", SpanKind.SERVER, None, "a GetQuota call", (_A.ACCOUNT, _A.BOT, _A.ERROR_CODE)
    ),
    SpanName.QUOTA_WAIT: SpanType(
        "gateway",
        SpanKind.INTERNAL,
        SpanName.GATEWAY_BUY,
        "a call waits for a permit within the account's limits and the bot's share",
        (_A.ACCOUNT, _A.BOT, _A.CALL, _A.BUCKET, _A.ERROR_CODE),
    ),
    SpanName.DERIV_CALL: SpanType(
        "gateway",
        SpanKind.CLIENT,
        SpanName.GATEWAY_BUY,
        "a frame is at Deriv: from its hand-over to the socket to its answer",
        (_A.ACCOUNT, _A.BOT, _A.CALL, _A.CONNECTION, _A.ERROR_CODE, _A.RATE_REFUSED),
    ),
    SpanName.SETTLE: SpanType(
        "gateway",
        SpanKind.INTERNAL,
        SpanName.GATEWAY_BUY,
        "an order is open: from its confirmation to the news of its settlement",
        (*_ORDER, _A.CONTRACT_ID, _A.STATE, _A.PROFIT),
    ),
}

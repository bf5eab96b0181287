"""A past for a metrics store: settled orders with spans, from a seed, so that reports have days to compare."""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from derivfleet.common.clock import NS_PER_S
from derivfleet.common.spans import SpanName
from derivfleet.metrics.orders import OrderRecord, OrderState
from derivfleet.metrics.otlp import SpanRecord
from derivfleet.metrics.store import FeedMark, Store

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DAY_S", "write_history"]

DAY_S = 86_400
_EVERY_S = 120
_STAKE = Decimal("0.50")
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Trade:
    number: int
    bot: str
    settled_s: int
    profit: Decimal
    deriv_ms: float

    @property
    def order_id(self) -> str:
        return f"{self.bot}:1HZ100V:{self.settled_s}:{self.number}"

    def order(self) -> OrderRecord:
        return OrderRecord(
            account="demo",
            order_id=self.order_id,
            bot=self.bot,
            contract_type="DIGITOVER",
            symbol="1HZ100V",
            stake=_STAKE,
            duration=1,
            duration_unit="t",
            barrier="4",
            state=OrderState.SETTLED,
            contract_id=700_000_000_000 + self.number,
            buy_price=_STAKE,
            payout=Decimal("0.98"),
            sell_price=_STAKE + self.profit,
            profit=self.profit,
            error_code="",
            error_message="",
            reconciled=False,
            intended_ns=(self.settled_s - 1) * NS_PER_S,
            bought_ns=(self.settled_s - 1) * NS_PER_S,
            settled_ns=self.settled_s * NS_PER_S,
            trace_id=f"{self.number + 1:032x}",
            # Below the feed's first position, so that the feed itself begins where it always does.
            position=self.number - 1_000_000,
            changed_ns=self.settled_s * NS_PER_S,
        )

    def spans(self) -> list[SpanRecord]:
        begin_ns = (self.settled_s - 1) * NS_PER_S
        lengths_ms = {
            SpanName.BUY: self.deriv_ms + 6,
            SpanName.GATEWAY_BUY: self.deriv_ms + 3,
            SpanName.DERIV_CALL: self.deriv_ms,
            SpanName.SETTLE: 940 + self.deriv_ms,
        }
        return [
            SpanRecord(
                trace_id=f"{self.number + 1:032x}",
                span_id=f"{index + 1:016x}",
                parent_id="",
                name=name,
                service="derivfleet-bot" if name is SpanName.BUY else "derivfleet-gateway",
                start_ns=begin_ns,
                end_ns=begin_ns + round(length_ms * _NS_PER_MS),
                account="demo",
                bot=self.bot,
                order_id=self.order_id,
                call="buy" if name is SpanName.DERIV_CALL else "",
                bucket="",
                state="confirmed" if name is SpanName.GATEWAY_BUY else "",
                error_code="",
                rate_refused=False,
                attributes="{}",
            )
            for index, (name, length_ms) in enumerate(lengths_ms.items())
        ]


async def write_history(path: Path, bots: list[str], now_s: int, days: int) -> Decimal:
    """Fill a store up to ten minutes before ``now_s``, from whole days before it on; returns yesterday's profit."""
    chance = random.Random(11)  # noqa: S311 - a market, not a secret
    today_s = now_s - now_s % DAY_S
    times_s = range(today_s - days * DAY_S + _EVERY_S, now_s - 600, _EVERY_S)
    trades = [
        _Trade(
            number=number * len(bots) + index,
            bot=bot,
            settled_s=settled_s,
            profit=Decimal("0.48") if chance.random() < 0.51 else -_STAKE,
            deriv_ms=chance.lognormvariate(3.3, 0.5),
        )
        for number, settled_s in enumerate(times_s)
        for index, bot in enumerate(bots)
        if chance.random() < 0.7
    ]
    store = await Store.open(path, "STORE")
    await store.keep_orders([trade.order() for trade in trades], FeedMark(), source="history")
    await store.keep_spans([span for trade in trades for span in trade.spans()])
    await store.close()
    yesterday = range(today_s - DAY_S, today_s)
    return sum((trade.profit for trade in trades if trade.settled_s in yesterday), Decimal(0))

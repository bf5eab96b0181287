"""A past for a metrics store: settled orders with spans, from a seed, so that reports have days to compare."""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from derivfleet.common.clock import NS_PER_S
from derivfleet.common.order_state import OrderState
from derivfleet.common.spans import Attribute, SpanName
from derivfleet.metrics.records.order import OrderRecord
from derivfleet.metrics.store.feed_mark import FeedMark
from derivfleet.metrics.store.store import Store

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DAY_S", "History"]

DAY_S = 86_400
_EVERY_S = 120
_STAKE = Decimal("0.50")
_NS_PER_MS = 1_000_000
_BATCH = 500


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

    def add_spans(self, request: ExportTraceServiceRequest) -> None:
        """What bot and gateway would have told of it."""
        begin_ns = (self.settled_s - 1) * NS_PER_S
        lengths_ms = {
            SpanName.BUY: self.deriv_ms + 6,
            SpanName.GATEWAY_BUY: self.deriv_ms + 3,
            SpanName.DERIV_CALL: self.deriv_ms,
            SpanName.SETTLE: 940 + self.deriv_ms,
        }
        for index, (name, length_ms) in enumerate(lengths_ms.items()):
            resource = request.resource_spans.add()
            service = "derivfleet-bot" if name is SpanName.BUY else "derivfleet-gateway"
            resource.resource.attributes.add(key="service.name").value.string_value = service
            span = resource.scope_spans.add().spans.add(
                trace_id=(self.number + 1).to_bytes(16, "big"),
                span_id=(index + 1).to_bytes(8, "big"),
                name=name,
                start_time_unix_nano=begin_ns,
                end_time_unix_nano=begin_ns + round(length_ms * _NS_PER_MS),
            )
            told = {
                Attribute.ACCOUNT: "demo",
                Attribute.BOT: self.bot,
                Attribute.ORDER_ID: self.order_id,
                Attribute.CALL: "buy" if name is SpanName.DERIV_CALL else "",
                Attribute.STATE: "confirmed" if name is SpanName.GATEWAY_BUY else "",
            }
            for key, value in told.items():
                if value:
                    span.attributes.add(key=key).value.string_value = value


class History:
    """Trades of the days before ``now_s``, and of the day of it up to ten minutes ago."""

    def __init__(self, bots: list[str], now_s: int, days: int) -> None:
        chance = random.Random(11)  # noqa: S311 - a market, not a secret
        self._today_s = now_s - now_s % DAY_S
        times_s = range(self._today_s - days * DAY_S + _EVERY_S, now_s - 600, _EVERY_S)
        self._trades = [
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

    @property
    def yesterday(self) -> Decimal:
        """The profit of the day before today, UTC."""
        day = range(self._today_s - DAY_S, self._today_s)
        return sum((trade.profit for trade in self._trades if trade.settled_s in day), Decimal(0))

    async def write_orders(self, path: Path) -> None:
        """Put the orders into a store that nobody has open yet."""
        store = await Store.open(path, "STORE")
        await store.keep_orders([trade.order() for trade in self._trades], FeedMark(), source="history")
        await store.close()

    async def send_spans(self, metrics: str) -> None:
        """Send the spans to a metrics service, as those of any bot come."""
        async with grpc.aio.insecure_channel(metrics) as channel:
            export = channel.unary_unary(
                "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                request_serializer=ExportTraceServiceRequest.SerializeToString,
                response_deserializer=ExportTraceServiceResponse.FromString,
            )
            for first in range(0, len(self._trades), _BATCH):
                request = ExportTraceServiceRequest()
                for trade in self._trades[first : first + _BATCH]:
                    trade.add_spans(request)
                answer: ExportTraceServiceResponse = await export(request)
                assert answer.partial_success.rejected_spans == 0, answer

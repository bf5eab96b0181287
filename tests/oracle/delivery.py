"""How the generator's orders and spans reach a metrics service: repeated, late, out of order, with restarts between."""

from __future__ import annotations

import heapq
import random
from itertools import count
from typing import TYPE_CHECKING, Any

import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from derivfleet.common.clock import ManualClock
from derivfleet.common.fleet import Fleet
from derivfleet.common.rpc.channel import open_channel
from derivfleet.common.rpc.identity import Role
from derivfleet.common.rpc.own_token import OwnToken
from derivfleet.common.rpc.token_file import issue_tokens
from derivfleet.metrics.ingest.order_feed import OrderFeed
from derivfleet.metrics.ingest.trace_receiver import TraceReceiver
from derivfleet.metrics.reports.finalizer import Finalizer
from derivfleet.metrics.reports.reports import Reports
from derivfleet.metrics.store.store import Store
from derivfleet.v1 import control_pb2, orders_pb2

from .generator import ACCOUNT, BOTS, NS, START_S, ZONE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import grpc

    from .generator import Generator, Made, Span

__all__ = ["Delivery", "Service"]

_RESENT, _LATE, _LATE_NEWS = 0.05, 0.02, 0.01
_EXPORT = 100
FLEET = Fleet.model_validate(
    yaml.safe_load(
        f"{{fleet: oracle, time_zone: {ZONE}, accounts: [{{key: {ACCOUNT}}}], bots: ["
        + ", ".join(
            f"{{name: {bot}, strategy: {strategy}, symbols: [{symbol}]}}" for bot, (strategy, symbol) in BOTS.items()
        )
        + "]}"
    )
)


class Service:
    """The rooms of the metrics service on one store, without sockets."""

    def __init__(self, store: Store, clock: ManualClock, channel: grpc.aio.Channel, token: OwnToken, mark: Any) -> None:
        self.store = store
        self.feed = OrderFeed(channel, token, store, clock, mark)
        self.feed._connected = True  # pyright: ignore[reportPrivateUsage] - the delivery brings what a stream would
        self.receiver = TraceReceiver(store, clock, queue_spans=50_000, span_days=7)
        self.reports = Reports(store, self.feed, clock, FLEET, self.receiver.counts)
        self.finalizer = Finalizer(store, self.reports, clock, ACCOUNT, grace_s=120)


class Delivery:
    """Brings what a generator made to a service, hour by hour of a virtual clock."""

    def __init__(self, generator: Generator, folder: Path, seed: int) -> None:
        self._generator = generator
        self._folder = folder
        self._random = random.Random(seed)  # noqa: S311 - reproducible on purpose
        self._order = count()
        self._spans: list[tuple[int, int, Span]] = []
        self._events: list[tuple[int, int, Made, str]] = []
        self._positions = count(1)
        self.clock = ManualClock(START_S)
        self.resent = self.late = 0

    async def deliver(self, progress: Callable[[int], None] = lambda _hour: None) -> Service:
        """Let all hours pass, and then as long as the latest news takes.

        There are two restarts: after one third by a crash, after two thirds in order.
        """
        issue_tokens({"metrics": Role.OBSERVER}, self._folder)
        for made in self._generator.orders():
            self._send_off(made)
        service = await self._start()
        hours = self._generator.hours + 40
        for hour in range(1, hours + 1):
            progress(hour)
            await self._until(service, (START_S + hour * 3_600) * NS)
            if hour in (self._generator.hours // 3, self._generator.hours * 2 // 3):
                if hour != self._generator.hours // 3:
                    await service.store.close()
                # A crash leaves what is committed and forgets the rest: the old store is never closed.
                service = await self._start()
        return service

    async def _start(self) -> Service:
        store = await Store.open(self._folder / "oracle.sqlite", "STORE", ACCOUNT)
        token = OwnToken(self._folder / "metrics.token", "token")
        return Service(store, self.clock, open_channel("127.0.0.1:1"), token, await store.mark())

    def _send_off(self, made: Made) -> None:
        for span in made.spans:
            if span.lost:
                continue
            at_ns = span.end_ns + self._random.randrange(NS)
            if self._random.random() < _LATE:
                at_ns += self._random.randrange(600 * NS, 30 * 3_600 * NS)
                self.late += 1
            heapq.heappush(self._spans, (at_ns, next(self._order), span))
            if self._random.random() < _RESENT:
                again_ns = at_ns + self._random.randrange(NS, 3 * 3_600 * NS)
                heapq.heappush(self._spans, (again_ns, next(self._order), span))
                self.resent += 1
        if made.told:
            news = [(made.bought_ns, "denied")] if made.denied else [(made.bought_ns, "confirmed")]
            if not made.denied:
                delay_ns = self._random.randrange(NS)
                if self._random.random() < _LATE_NEWS:
                    delay_ns = self._random.randrange(10 * 3_600 * NS)
                news.append((made.settled_ns + delay_ns, "settled"))
            for at_ns, state in news:
                heapq.heappush(self._events, (at_ns, next(self._order), made, state))

    async def _until(self, service: Service, time_ns: int) -> None:
        responses: list[control_pb2.StreamOrderFeedResponse] = []
        while self._events and self._events[0][0] <= time_ns:
            at_ns, _, made, state = heapq.heappop(self._events)
            event = _event(next(self._positions), at_ns, made, state)
            responses.append(control_pb2.StreamOrderFeedResponse(event=event))
        ready: list[Span] = []
        while self._spans and self._spans[0][0] <= time_ns:
            ready.append(heapq.heappop(self._spans)[2])
        await self.clock.advance(time_ns / NS - self.clock.now_s())
        await service.feed._keep_batch([*responses, control_pb2.StreamOrderFeedResponse()])  # pyright: ignore[reportPrivateUsage] - as a stream would
        nobody: Any = None
        for first in range(0, len(ready), _EXPORT):
            spans = ready[first : first + _EXPORT]
            self._random.shuffle(spans)
            answer = await service.receiver.export(request_of(spans).SerializeToString(), nobody)
            assert not answer.partial_success.rejected_spans, answer.partial_success.error_message
        await self.clock.advance(130)
        while await service.finalizer.finalize():
            pass


def request_of(spans: Sequence[Span]) -> ExportTraceServiceRequest:
    """Spans as OTLP."""
    request = ExportTraceServiceRequest()
    for one in spans:
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = one.service
        span = resource.scope_spans.add().spans.add(
            trace_id=one.trace_id,
            span_id=one.span_id,
            parent_span_id=one.parent_id,
            name=one.name,
            start_time_unix_nano=one.start_ns,
            end_time_unix_nano=one.end_ns,
        )
        for key, text in one.attributes.items():
            span.attributes.add(key=f"derivfleet.{key}").value.string_value = text
    return request


def _event(position: int, time_ns: int, made: Made, state: str) -> orders_pb2.OrderEvent:
    settled, bought = state == "settled", state != "denied"
    return orders_pb2.OrderEvent(
        position=position,
        time_ns=time_ns,
        order=orders_pb2.Order(
            account=ACCOUNT,
            order_id=made.order_id,
            bot=made.bot,
            terms=orders_pb2.ContractTerms(contract_type="CALL", symbol=made.symbol, stake=_money(made.stake)),
            state=orders_pb2.OrderState.Value(f"ORDER_STATE_{state.upper()}"),
            buy_price=_money(made.stake) if bought else "",
            sell_price=_money(made.stake + made.profit) if settled else "",
            profit=_money(made.profit) if settled else "",
            sell_epoch_s=made.settled_ns // NS if settled else 0,
            intended_time_ns=made.intended_ns,
            answered_time_ns=made.bought_ns,
        ),
    )


def _money(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}" if cents >= 0 else f"-{-cents // 100}.{-cents % 100:02d}"

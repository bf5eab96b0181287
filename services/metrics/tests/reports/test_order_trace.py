from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.common.clock import FleetClock
from derivfleet.common.rpc.channel import open_channel
from derivfleet.common.rpc.own_token import bearer
from derivfleet.common.rpc.status import problem_of
from derivfleet.common.spans import Attribute, SpanName
from derivfleet.common.telemetry import Telemetry
from derivfleet.metrics.records.span import SpanRecord
from derivfleet.metrics.reports.order_trace import NEEDED, attributes_of, trace_of
from derivfleet.v1 import reports_pb2, reports_pb2_grpc

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from conftest import GatewayPeer, Running

    from derivfleet.metrics.records.order import OrderRecord
    from derivfleet.metrics.records.otlp import Received
    from derivfleet.metrics.store.store import Store
    from derivfleet.v1.orders_pb2 import OrderEvent

    MakeSpan = Callable[..., SpanRecord]
    MakeExport = Callable[[Sequence[SpanRecord]], Received]
    MakeOrder = Callable[..., OrderRecord]
    MakeEvent = Callable[..., OrderEvent]
    RunMetrics = Callable[..., AbstractAsyncContextManager[Running]]
    Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]

TRACE = "a" * 32
PARENTS = {
    SpanName.DECIDE: SpanName.TRADE,
    SpanName.BUY: SpanName.TRADE,
    SpanName.FOLLOW: SpanName.TRADE,
    SpanName.GATEWAY_BUY: SpanName.BUY,
    SpanName.QUOTA_WAIT: SpanName.GATEWAY_BUY,
    SpanName.DERIV_CALL: SpanName.GATEWAY_BUY,
    SpanName.SETTLE: SpanName.GATEWAY_BUY,
}


def whole(make_span: MakeSpan, trace_id: str = TRACE, order_id: str = "o1") -> list[SpanRecord]:
    """The spans of a trade that nothing is missing of."""
    ids = {name: f"{number:016x}" for number, name in enumerate((SpanName.TRADE, *PARENTS), 1)}
    return [
        make_span(
            number,
            name,
            trace_id=trace_id,
            parent_id=ids[PARENTS[name]] if name in PARENTS else "",
            order_id=order_id if name not in (SpanName.DECIDE, SpanName.QUOTA_WAIT, SpanName.DERIV_CALL) else "",
        )
        for number, name in enumerate(ids, 1)
    ]


def span_of(**values: Any) -> SpanRecord:
    """A span of which nothing else is known."""
    unknown: dict[str, Any] = {**dict.fromkeys(SpanRecord.__slots__, ""), "end_ns": 60, "rate_refused": False}
    return SpanRecord(**unknown | values)


@st.composite
def forests(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """(number, number of the parent or 0, start): every parent has a smaller number."""
    size = draw(st.integers(1, 25))
    starts = draw(st.lists(st.integers(1, 50), min_size=size, max_size=size))
    return [(number, draw(st.integers(0, number - 1)), start) for number, start in enumerate(starts, 1)]


@given(forests(), st.randoms(use_true_random=False))
def test_a_parent_comes_right_before_all_that_is_below_it(
    forest: list[tuple[int, int, int]], shuffle: random.Random
) -> None:
    spans = [
        span_of(trace_id=TRACE, span_id=f"{number:016x}", parent_id=f"{parent:016x}" if parent else "", start_ns=start)
        for number, parent, start in forest
    ]
    ordered = trace_of("demo", "o", shuffle.sample(spans, len(spans))).spans
    assert sorted(span.span_id for span in ordered) == [span.span_id for span in spans]

    def path(span: SpanRecord) -> list[tuple[int, str]]:
        """Another way to say where a span belongs: by whom it is under, each by when it began."""
        above = next((one for one in spans if one.span_id == span.parent_id), None)
        return [*(path(above) if above else []), (span.start_ns, span.span_id)]

    assert [span.span_id for span in ordered] == [span.span_id for span in sorted(spans, key=path)]


def test_a_trace_is_complete_when_nothing_of_a_trade_is_missing(make_span: MakeSpan) -> None:
    spans = whole(make_span)
    assert {span.name for span in spans} == NEEDED
    assert trace_of("demo", "o1", spans).is_complete
    for number in range(len(spans)):
        assert not trace_of("demo", "o1", spans[:number] + spans[number + 1 :]).is_complete
    stray = make_span(99, SpanName.GATEWAY_CHECK, trace_id="b" * 32, parent_id="5" * 16)
    assert not trace_of("demo", "o1", [*spans, stray]).is_complete


def test_a_span_of_the_same_number_in_another_trace_is_no_parent(make_span: MakeSpan) -> None:
    one = make_span(1, SpanName.TRADE, trace_id=TRACE)
    other = make_span(2, SpanName.BUY, trace_id="b" * 32, parent_id=one.span_id)
    assert not trace_of("demo", "o1", [one, other]).is_complete
    assert len(trace_of("demo", "o1", [one, other]).spans) == 2


def test_attributes_are_put_together_again_as_text(make_span: MakeSpan) -> None:
    span = make_span(
        1,
        SpanName.DERIV_CALL,
        call="buy",
        rate_refused=True,
        error_code="RateLimit",
        attributes='{"derivfleet.contract_id": 12, "derivfleet.connection": "demo/orders", "odd": true}',
    )
    assert attributes_of(span) == {
        Attribute.ACCOUNT: "demo",
        Attribute.BOT: "over-4",
        Attribute.CALL: "buy",
        Attribute.RATE_REFUSED: "true",
        "derivfleet.contract_id": "12",
        "derivfleet.connection": "demo/orders",
        "odd": "true",
    }


async def test_an_orders_spans_are_those_of_every_trace_that_names_it(
    store: Store, make_span: MakeSpan, make_export: MakeExport, make_order: MakeOrder
) -> None:
    spans = whole(make_span)
    asked = make_span(50, SpanName.GATEWAY_CHECK, trace_id="c" * 32, order_id="o1")
    await store.keep_spans([make_export([*spans, asked, *whole(make_span, "d" * 32, "o2")])], 0)
    await store.keep_spans([make_export([replace(asked, trace_id="e" * 32, account="other")])], 0)
    await store.keep_orders([make_order(3, "o1"), make_order(5, "o2"), make_order(4, "o3")], await store.mark())
    found = await store.spans_of_order("demo", "o1", 100)
    assert {(span.trace_id, span.span_id) for span in found} == {
        (span.trace_id, span.span_id) for span in [*spans, asked]
    }
    assert {type(span.rate_refused) for span in found} == {bool}
    assert await store.spans_of_order("demo", "nothing", 100) == []
    assert await store.spans_of_order("demo", "", 100) == []
    assert await store.settled_orders("demo", 2) == ["o2", "o3"]


async def ask(service: Running, **request: Any) -> reports_pb2.Trace:
    async with open_channel(service.otlp) as channel:
        stub = reports_pb2_grpc.ReportsServiceStub(channel)
        message = reports_pb2.GetTraceRequest(**request)
        return (await stub.GetTrace(message, metadata=bearer(service.token("operator")), timeout=60)).trace


def export_trade(telemetry: Telemetry, order_id: str) -> None:
    own = {Attribute.ACCOUNT: "demo", Attribute.BOT: "over-4", Attribute.ORDER_ID: order_id}
    open_spans = {SpanName.TRADE: telemetry.start(SpanName.TRADE, own)}
    for name, parent in PARENTS.items():
        open_spans[name] = telemetry.start(name, own, open_spans[parent].context)
    for span in open_spans.values():
        span.end()


async def test_the_newest_whole_trace_is_told_and_any_order_by_its_id(
    run_metrics: RunMetrics, gateway: GatewayPeer, make_event: MakeEvent, eventually: Eventually
) -> None:
    clock = FleetClock()
    gateway.events = [make_event(number, f"o{number}", time_s=clock.now_s()) for number in (1, 2, 3)]
    async with run_metrics(gateway) as service:
        telemetry = Telemetry("bot", clock, service.otlp)
        export_trade(telemetry, "o1")
        export_trade(telemetry, "o2")
        lone = {Attribute.ACCOUNT: "demo", Attribute.BOT: "over-4", Attribute.ORDER_ID: "o3"}
        telemetry.start(SpanName.BUY, lone).end()
        await asyncio.to_thread(telemetry.close)

        async def told() -> bool:
            try:
                return (await ask(service)).order_id == "o2"
            except grpc.aio.AioRpcError:
                return False

        await eventually(told)
        newest = await ask(service)
        assert newest.complete
        assert newest.account == "demo"
        assert newest.spans[0].name == SpanName.TRADE
        assert newest.spans[0].service == "derivfleet-bot"
        assert {span.name for span in newest.spans} == NEEDED
        assert newest.spans[0].attributes[Attribute.ORDER_ID] == "o2"
        half = await ask(service, account="demo", order_id="o3")
        assert ([span.name for span in half.spans], half.complete) == ([SpanName.BUY], False)


@pytest.mark.parametrize(
    ("request_", "code", "reason", "words"),
    [
        ({"order_id": "nobody's"}, grpc.StatusCode.NOT_FOUND, "TRACE_UNKNOWN", "nobody's"),
        ({}, grpc.StatusCode.NOT_FOUND, "TRACE_UNKNOWN", "no settled order with a complete trace"),
        ({"account": "other"}, grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", "other"),
    ],
)
async def test_a_trace_that_is_not_there_is_one_clear_problem(
    run_metrics: RunMetrics, request_: dict[str, Any], code: grpc.StatusCode, reason: str, words: str
) -> None:
    async with run_metrics() as service:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await ask(service, **request_)
    problem = problem_of(error.value)
    assert (problem.code, problem.reason) == (code, reason)
    assert words in problem.message

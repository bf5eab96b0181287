"""The whole service over real sockets: traces and orders in, reports out, restarts and outages between."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from pydantic import SecretStr

from derivfleet.common.clock import FleetClock
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.rpc.channel import open_channel
from derivfleet.common.rpc.own_token import bearer
from derivfleet.common.rpc.status import problem_of
from derivfleet.common.spans import Attribute, SpanName
from derivfleet.common.telemetry import Telemetry
from derivfleet.metrics.alerts import alert_table
from derivfleet.metrics.store.store import Store
from derivfleet.v1 import reports_pb2, reports_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from conftest import GatewayPeer, Running

    from derivfleet.metrics.settings import MetricsSettings
    from derivfleet.v1.orders_pb2 import OrderEvent

    RunMetrics = Callable[..., AbstractAsyncContextManager[Running]]
    Eventually = Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]]
    MakeEvent = Callable[..., OrderEvent]

DAY_S = 86_400
PATIENCE_S = 60.0


async def report(service: Running, name: str = "operator", **request: Any) -> reports_pb2.Report:
    async with open_channel(service.otlp) as channel:
        stub = reports_pb2_grpc.ReportsServiceStub(channel)
        message = reports_pb2.GetReportRequest(**request)
        answer = await stub.GetReport(message, metadata=bearer(service.token(name)), timeout=PATIENCE_S)
        return answer.report


async def export(service: Running, *spans: Span) -> ExportTraceServiceResponse:
    """Send raw spans, as a stranger's exporter would: without a token."""
    request = ExportTraceServiceRequest(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])])
    async with open_channel(service.otlp) as channel:
        call: Any = channel.unary_unary(
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            request_serializer=ExportTraceServiceRequest.SerializeToString,
            response_deserializer=ExportTraceServiceResponse.FromString,
        )
        return await call(request, timeout=PATIENCE_S)


async def health(service: Running) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{service.url}/healthz") as answer:
        return await answer.json()


async def connected(service: Running) -> bool:
    return bool((await health(service))["feed_connected"])


async def settled(service: Running) -> int:
    return (await report(service, period_s=DAY_S)).fleet.settled


def raw_span(number: int, **changes: Any) -> Span:
    values: dict[str, Any] = {
        "trace_id": bytes([number]) * 16,
        "span_id": bytes([number]) * 8,
        "name": "gateway.buy",
        "start_time_unix_nano": FleetClock().now_ns() - 1_000_000_000,
        "end_time_unix_nano": FleetClock().now_ns(),
    }
    return Span(**{**values, **changes})


def trade(telemetry: Telemetry, order_id: str) -> None:
    """The spans of one trade, as bot and gateway write them."""
    own = {Attribute.ACCOUNT: "demo", Attribute.BOT: "over-4", Attribute.ORDER_ID: order_id}
    with telemetry.span(SpanName.TRADE, own) as root, telemetry.span(SpanName.BUY, own, root.context) as buy:
        call = telemetry.start(SpanName.GATEWAY_BUY, {**own, Attribute.STATE: "confirmed"}, buy.context)
        telemetry.start(SpanName.DERIV_CALL, {**own, Attribute.CALL: "buy"}, call.context).end()
        call.end()
        telemetry.start(SpanName.SETTLE, own, call.context).end()


async def test_exported_traces_and_the_order_feed_become_one_report(
    run_metrics: RunMetrics, gateway: GatewayPeer, make_event: MakeEvent, eventually: Eventually
) -> None:
    clock = FleetClock()
    now_s = clock.now_s()
    gateway.status.time_ns = clock.now_ns()
    gateway.events = [make_event(5, "a", "0.33", time_s=now_s), make_event(9, "b", "-0.35", time_s=now_s)]
    async with run_metrics(gateway) as service:
        telemetry = Telemetry("bot", clock, service.otlp)
        trade(telemetry, "a")
        await asyncio.to_thread(telemetry.close)

        async def complete() -> bool:
            seen = await report(service, period_s=DAY_S)
            return seen.fleet.settled == 2 and len(seen.quota) > 0

        await eventually(complete)
        result = await report(service, period_s=DAY_S)
        assert result.account == "demo"
        over, trend = result.bots
        assert (over.bot, over.ops, over.buys, over.settled, over.wins) == ("over-4", 1, 2, 2, 1)
        assert (over.profit, over.staked, over.win_rate) == ("-0.02", "0.70", 0.5)
        assert {phase.phase for phase in over.phases} == {"upstream", "buy", "settle"}
        assert (trend.bot, trend.settled, trend.profit) == ("trend-75", 0, "0")
        assert result.fleet.profit == "-0.02"
        assert (result.quota[0].bucket, result.quota[0].calls) == ("trade", 1)
        completeness = result.completeness
        assert (completeness.orders_in_feed, completeness.orders_traced) == (2, 1)
        assert completeness.profit_untraced == "-0.35"
        assert (completeness.feed_connected, completeness.feed_lag_s) == (True, 0)
        assert result.filled_to_epoch_s >= int(now_s)
    assert gateway.bearers == [f"Bearer {service.token('metrics')}"]


async def test_a_span_that_is_sent_again_counts_once(run_metrics: RunMetrics) -> None:
    now_ns = FleetClock().now_ns()
    span = raw_span(1, start_time_unix_nano=now_ns, end_time_unix_nano=now_ns)
    span.attributes.add(key="derivfleet.bot").value.string_value = "over-4"
    async with run_metrics() as service:
        await export(service, span)
        await export(service, span, raw_span(2))
        assert (await report(service, period_s=DAY_S)).fleet.ops == 1


async def test_malformed_spans_are_counted_and_their_neighbours_kept(run_metrics: RunMetrics) -> None:
    now_ns = FleetClock().now_ns()
    good = raw_span(1, start_time_unix_nano=now_ns, end_time_unix_nano=now_ns)
    good.attributes.add(key="derivfleet.bot").value.string_value = "over-4"
    async with run_metrics() as service:
        answer = await export(service, raw_span(2, trace_id=b"short"), good, raw_span(3, end_time_unix_nano=1))
        assert answer.partial_success.rejected_spans == 2
        assert "1 x trace id" in answer.partial_success.error_message
        assert (await report(service, period_s=DAY_S)).fleet.ops == 1


async def test_a_restart_keeps_everything_and_resumes_the_feed(
    run_metrics: RunMetrics, gateway: GatewayPeer, make_event: MakeEvent, eventually: Eventually
) -> None:
    now_s = FleetClock().now_s()
    gateway.events = [make_event(5, "a", time_s=now_s)]

    async with run_metrics(gateway) as first:
        await eventually(lambda: settles(first, 1))
    await gateway.add(make_event(6, "b", time_s=now_s))
    async with run_metrics(gateway) as second:
        await eventually(lambda: settles(second, 2))
    assert gateway.asked_after == [0, 5]


async def settles(service: Running, count: int) -> bool:
    return await settled(service) == count


async def test_the_feed_comes_back_after_the_gateway_was_away(
    run_metrics: RunMetrics,
    gateway: GatewayPeer,
    make_event: MakeEvent,
    eventually: Eventually,
    capsys: pytest.CaptureFixture[str],
) -> None:
    now_s = FleetClock().now_s()
    gateway.events = [make_event(5, "a", time_s=now_s)]
    async with run_metrics(gateway) as service:
        await eventually(lambda: settles(service, 1))
        await gateway.stop()

        async def cut() -> bool:
            return not await connected(service)

        await eventually(cut)
        alone = await report(service, period_s=DAY_S)
        assert (alone.fleet.settled, alone.completeness.feed_connected) == (1, False)
        assert alone.completeness.feed_lag_s > 0
        await gateway.add(make_event(7, "b", time_s=now_s))
        await gateway.start()
        await eventually(lambda: settles(service, 2))
        assert await connected(service)
    assert gateway.asked_after[0] == 0
    assert set(gateway.asked_after[1:]) == {5}
    said = capsys.readouterr().out
    assert said.count("order feed cut, trying again") == 1
    assert "warning" not in said


async def test_without_a_gateway_the_service_serves_what_it_has(run_metrics: RunMetrics) -> None:
    async with run_metrics() as service:
        result = await report(service)
        assert [bot.bot for bot in result.bots] == ["over-4", "trend-75"]
        assert not result.completeness.feed_connected
        assert result.filled_to_epoch_s == result.start_epoch_s
        assert (await health(service))["status"] == "ok"


@pytest.mark.parametrize(
    ("name", "code"),
    [("over-4", grpc.StatusCode.PERMISSION_DENIED), ("nobody", grpc.StatusCode.UNAUTHENTICATED)],
)
async def test_reports_are_not_for_bots_and_strangers(
    run_metrics: RunMetrics, tmp_path: Path, name: str, code: grpc.StatusCode
) -> None:
    (tmp_path / "nobody.token").write_text("nobody.at-all")
    async with run_metrics() as service:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await report(service, name)
        assert refusal.value.code() is code


@pytest.mark.parametrize(
    ("request_", "field"),
    [({"account": "other"}, "account"), ({"period_s": -5}, "period_s"), ({"at_epoch_s": 99_999_999_999}, "at_epoch_s")],
)
async def test_a_bad_field_of_a_request_is_named(run_metrics: RunMetrics, request_: dict[str, Any], field: str) -> None:
    async with run_metrics() as service:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await report(service, **request_)
        problem = problem_of(refusal.value)
        assert (problem.code, problem.field) == (grpc.StatusCode.INVALID_ARGUMENT, field)


async def test_a_full_queue_says_when_to_come_again(run_metrics: RunMetrics, settings: MetricsSettings) -> None:
    """With the writing thread held up and room for one span, the second of two senders is told to wait."""
    assert settings.queue_spans == 50_000
    async with run_metrics(queue_spans=1) as service:
        blocker = sqlite3.connect(settings.store, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        both = [asyncio.create_task(export(service, raw_span(number))) for number in (1, 2)]
        (refused,), (taken,) = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        blocker.execute("ROLLBACK")
        blocker.close()
        await taken
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await refused
        assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert problem_of(refusal.value).retry_after_s == 1.0
        metadata: dict[str, Any] = dict(refusal.value.trailing_metadata())
        assert RetryInfo.FromString(metadata["google.rpc.retryinfo-bin"]).retry_delay.seconds == 1


async def test_a_disk_that_fails_sends_spans_away_and_takes_them_later(
    run_metrics: RunMetrics, settings: MetricsSettings
) -> None:
    now_ns = FleetClock().now_ns()
    span = raw_span(1, start_time_unix_nano=now_ns, end_time_unix_nano=now_ns)
    span.attributes.add(key="derivfleet.bot").value.string_value = "over-4"
    async with run_metrics() as service:
        damage = sqlite3.connect(settings.store, isolation_level=None)
        for table in ("parcels", "span_rollups"):
            damage.execute(f"ALTER TABLE {table} RENAME TO hidden_{table}")
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await export(service, span)
        assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
        assert problem_of(refusal.value).retry_after_s == 1.0
        with pytest.raises(grpc.aio.AioRpcError) as no_report:
            await report(service)
        assert problem_of(no_report.value).reason == "STORE_FAILED"
        for table in ("parcels", "span_rollups"):
            damage.execute(f"ALTER TABLE hidden_{table} RENAME TO {table}")
        damage.close()
        await export(service, span)
        assert (await report(service, period_s=DAY_S)).fleet.ops == 1


async def test_a_port_in_use_is_one_clear_error(run_metrics: RunMetrics) -> None:
    async with run_metrics() as service:
        for name, port in (("listen", service.ports.grpc), ("web", service.ports.web)):
            with pytest.raises(ConfigurationError) as error:
                async with run_metrics(**{name: f"127.0.0.1:{port}"}):
                    pass
            assert error.value.key == f"DERIVFLEET_METRICS_{name.upper()}"


async def run_process(settings: MetricsSettings, **changes: str) -> asyncio.subprocess.Process:
    own = {
        f"DERIVFLEET_METRICS_{name}".upper(): str(value)
        for name, value in settings.model_dump(exclude_defaults=True).items()
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "derivfleet.metrics",
        env={**os.environ, **own, **changes},
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_process_ends_in_order_when_told_to(settings: MetricsSettings) -> None:
    process = await run_process(settings)
    assert process.stderr is not None
    async for line in process.stderr:
        if b"metrics serves" in line:
            break
    process.send_signal(signal.SIGTERM)
    rest = await asyncio.wait_for(process.stderr.read(), PATIENCE_S)
    assert await process.wait() == 0
    assert b"metrics drains" in rest
    assert b"Traceback" not in rest


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"DERIVFLEET_METRICS_WEB": "nowhere"}, b"DERIVFLEET_METRICS_WEB"),
        ({"DERIVFLEET_METRICS_COLOUR": "red"}, b"DERIVFLEET_METRICS_COLOUR"),
        ({"DERIVFLEET_METRICS_STORE": "/proc/no/store"}, b"DERIVFLEET_METRICS_STORE"),
    ],
)
async def test_a_bad_setting_ends_in_one_line_and_exit_code_2(
    settings: MetricsSettings, changes: dict[str, str], named: bytes
) -> None:
    process = await run_process(settings, **changes)
    assert process.stderr is not None
    said = await asyncio.wait_for(process.stderr.read(), PATIENCE_S)
    assert await process.wait() == 2
    assert named in said
    assert said.count(b"\n") == 1


async def exported(service: Running, spans: int, size: int, **options: Any) -> int:
    """What an exporter as it comes achieves with one export: how many spans the receiver kept."""
    exporter = OTLPSpanExporter(endpoint=service.otlp, insecure=True, timeout=3, **options)
    tracer = TracerProvider(resource=Resource.create({"service.name": "stock"})).get_tracer("stock")
    own = {"derivfleet.account": "demo", "derivfleet.bot": "over-4", "note": "x" * size}
    opened = [tracer.start_span("gateway.buy", attributes=own) for _ in range(spans)]
    for span in opened:
        span.end()
    result = await asyncio.to_thread(exporter.export, [span for span in opened if isinstance(span, ReadableSpan)])
    exporter.shutdown()  # pyright: ignore[reportUnknownMemberType] - its options have no types
    assert result is SpanExportResult.SUCCESS
    return (await report(service, period_s=DAY_S)).completeness.spans


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_an_exporter_as_it_comes_is_understood(run_metrics: RunMetrics, compression: grpc.Compression) -> None:
    async with run_metrics() as service:
        assert await exported(service, 3, 10, compression=compression) == 3


async def test_an_export_larger_than_grpcs_own_bound_is_taken(run_metrics: RunMetrics) -> None:
    async with run_metrics() as service:
        assert await exported(service, 600, 10_000) == 600


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="OTLP over HTTP is not spoken, on either port")
async def test_traces_are_taken_over_http_too(run_metrics: RunMetrics) -> None:
    body = ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=[raw_span(1)])])]
    ).SerializeToString()
    headers = {"Content-Type": "application/x-protobuf"}
    async with run_metrics() as service, aiohttp.ClientSession() as session:
        async with session.post(f"{service.url}/v1/traces", data=body, headers=headers) as answer:
            assert answer.status == 200
        assert (await report(service, period_s=DAY_S)).completeness.spans == 1


@pytest.mark.xfail(
    strict=True,
    raises=(AssertionError, grpc.aio.AioRpcError, ArithmeticError, BaseExceptionGroup),
    reason="one span of anybody ends the service",
)
async def test_a_span_whose_profit_is_no_number_changes_nothing(run_metrics: RunMetrics) -> None:
    forged = {
        "derivfleet.account": "demo",
        "derivfleet.bot": "over-4",
        "derivfleet.order_id": "forged",
        "derivfleet.state": "settled",
        "derivfleet.profit": "abc",
    }
    pairs = [KeyValue(key=key, value=AnyValue(string_value=text)) for key, text in forged.items()]
    async with run_metrics() as service:
        await export(service, raw_span(1, attributes=pairs))
        assert (await report(service, period_s=DAY_S)).fleet.profit == "0"


@pytest.mark.xfail(strict=True, raises=TimeoutError, reason="what is posted outside asks no proxy")
async def test_alerts_go_through_the_proxy_that_is_set(
    run_metrics: RunMetrics, settings: MetricsSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await Store.open(settings.store, "STORE", "demo")
    await store.write(lambda one: alert_table.add_notice(one, ["webhook"], "FIRING x", FleetClock().now_ns()))
    await store.close()
    asked: asyncio.Queue[str] = asyncio.Queue()

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked.put((await reader.readline()).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    async with server, run_metrics(webhook_url=SecretStr("http://hooks.invalid/x")):
        assert "http://hooks.invalid/x" in await asyncio.wait_for(asked.get(), 3)

"""A real metrics service, killed at any moment under load: what it acknowledged is there once, and nothing twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import sys
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from derivfleet.common.clock import ORIGIN_VARIABLE, SPEED_VARIABLE, FleetClock
from derivfleet.metrics.store.store import Store
from derivfleet.metrics.sums.profit_and_loss import FLEET
from derivfleet.metrics.sums.span_aggregates import SpanAggregate
from derivfleet.metrics.sums.time_levels import HOUR_S, WINDOW_S
from derivfleet.v1 import orders_pb2
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conftest import GatewayPeer

    from derivfleet.metrics.settings import MetricsSettings

KILLS = 4
MORTAL = Path(__file__).parent / "mortal.py"
POINTS = (
    ("before", "keep_spans", 1),
    ("after", "keep_spans", 3),
    ("before", "keep_orders", 2),
    ("after", "keep_orders", 1),
    ("before", "_roll_up", 1),
    ("after", "_roll_up", 1),
)
"""Before or after which commit a process dies: of spans, of the feed with its position, of the sums of both."""
EVENTS = 1200
"""New ones of the feed in the life of each process: more than it takes in one commit."""
CONFIRMED = orders_pb2.ORDER_STATE_CONFIRMED
PROFITS = ("0.33", "-0.35")
SPANS = 40
SENDERS = 4
PATIENCE_S = 60.0


def export_of(number: int, now_ns: int) -> bytes:
    """An export like no other, with spans in two windows."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for index in range(SPANS):
        end_ns = now_ns - (index % 2) * WINDOW_S * 10**9
        span = scope.spans.add(
            trace_id=number.to_bytes(16, "big"),
            span_id=(number * SPANS + index + 1).to_bytes(8, "big"),
            name="gateway.check",
            start_time_unix_nano=end_ns - 1_000_000,
            end_time_unix_nano=end_ns,
        )
        span.attributes.add(key="derivfleet.bot").value.string_value = "over-4"
    return request.SerializeToString()


class Load:
    """Senders that send each export until it is acknowledged, as exporters do."""

    def __init__(self, port: int, now_ns: int) -> None:
        self._port = port
        self._now_ns = now_ns
        self.acknowledged = 0
        self.sent_again = 0
        self._number = 0
        self.ending = False

    async def send(self) -> None:
        options = [("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 100)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self._port}", options=options) as channel:
            call = cast("Any", channel).unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
            while not self.ending:
                self._number += 1
                raw = export_of(self._number, self._now_ns)
                while True:
                    try:
                        await call(raw, timeout=5, wait_for_ready=True)
                        break
                    except grpc.aio.AioRpcError:
                        self.sent_again += 1
                self.acknowledged += 1


async def start(settings: MetricsSettings, *words: str, speed: int = 1) -> asyncio.subprocess.Process:
    own = settings.model_dump(exclude_defaults=True)
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        env={
            **os.environ,
            **{f"DERIVFLEET_METRICS_{name}".upper(): str(value) for name, value in own.items()},
            SPEED_VARIABLE: str(speed),
            ORIGIN_VARIABLE: str(FleetClock().now_ns()),
        },
        stderr=asyncio.subprocess.DEVNULL,
    )


def assert_spans_once(connection: sqlite3.Connection, spans: int) -> None:
    assert connection.execute("SELECT SUM(spans) FROM parcels").fetchone() == (spans,)
    assert connection.execute("SELECT COUNT(*) FROM span_keys").fetchone() == (spans,)
    for level_s in (WINDOW_S, HOUR_S):
        rows = connection.execute("SELECT body FROM span_rollups WHERE level_s = ?", (level_s,))
        aggregates = [SpanAggregate.of(body) for (body,) in rows]
        assert sum(aggregate.counts["op gateway.check"] for aggregate in aggregates) == spans
        assert sum(sum(aggregate.bins["op gateway.check"].values()) for aggregate in aggregates) == spans


async def test_what_is_acknowledged_outlives_a_kill_and_counts_once(settings: MetricsSettings) -> None:
    draw = random.Random(5)  # noqa: S311 - reproducible on purpose
    port = free_port()
    settings = settings.model_copy(update={"listen": f"127.0.0.1:{port}"})
    now_ns = FleetClock().now_ns()
    load = Load(port, now_ns)
    senders = [asyncio.create_task(load.send()) for _ in range(SENDERS)]
    for _ in range(KILLS):
        process = await start(settings, "-m", "derivfleet.metrics")
        before = load.acknowledged
        async with asyncio.timeout(PATIENCE_S):
            while load.acknowledged < before + draw.randrange(5, 60):  # noqa: ASYNC110 - at any moment
                await asyncio.sleep(0.005)
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    process = await start(settings, "-m", "derivfleet.metrics")
    load.ending = True
    await asyncio.wait_for(asyncio.gather(*senders), PATIENCE_S)
    process.kill()
    await process.wait()

    store = await Store.open(settings.store, "STORE")
    await store.close()
    connection = sqlite3.connect(settings.store)
    assert_spans_once(connection, load.acknowledged * SPANS)
    connection.close()
    assert load.sent_again > 0


@pytest.mark.long
async def test_a_kill_on_either_side_of_a_commit_loses_and_repeats_neither_spans_nor_orders(
    settings: MetricsSettings,
    gateway: GatewayPeer,
    make_event: Callable[..., orders_pb2.OrderEvent],
    eventually: Callable[[Callable[[], Awaitable[bool]]], Awaitable[None]],
) -> None:
    """Before a commit nothing was acknowledged; after it the answer is lost. The feed goes on from what is on disk."""
    port = free_port()
    settings = settings.model_copy(update={"listen": f"127.0.0.1:{port}", "gateway": f"127.0.0.1:{gateway.port}"})
    now_ns = FleetClock().now_ns()
    now_s = now_ns // 10**9
    load = Load(port, now_ns)
    senders = [asyncio.create_task(load.send()) for _ in range(SENDERS)]
    orders, position, on_disk = 0, 0, [0]
    for moment, method, commit in POINTS:
        # Every order is told twice: open, then settled. A kill may come between the two.
        for _ in range(EVENTS // 2):
            orders += 1
            name, time_s = f"o{orders}", now_s - orders % 600
            opened = make_event(position + 1, name, time_s=time_s, state=CONFIRMED)
            opened.order.profit = opened.order.sell_price = ""
            await gateway.add(opened, make_event(position + 2, name, PROFITS[orders % 2], time_s=time_s))
            position += 2
        process = await start(settings, str(MORTAL), moment, method, str(commit), speed=10)
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == -signal.SIGKILL
        with closing(sqlite3.connect(settings.store)) as connection:
            kept = connection.execute("SELECT position FROM feeds").fetchone() or (0,)
            assert kept == connection.execute("SELECT COALESCE(MAX(position), 0) FROM orders").fetchone()
        on_disk.append(kept[0])
    process = await start(settings, "-m", "derivfleet.metrics")
    load.ending = True
    await asyncio.wait_for(asyncio.gather(*senders), PATIENCE_S)

    def position_kept() -> int:
        with closing(sqlite3.connect(settings.store)) as connection:
            return int(connection.execute("SELECT position FROM feeds").fetchone()[0])

    async def caught_up() -> bool:
        return position_kept() == position

    await eventually(caught_up)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0

    # Each process went on from what the one before it had on disk; one may have died before it could ask.
    assert gateway.asked_after == sorted(gateway.asked_after)
    assert set(gateway.asked_after) <= set(on_disk)
    assert gateway.asked_after[-1] == on_disk[-1]
    store = await Store.open(settings.store, "STORE")
    start_s = now_s // HOUR_S * HOUR_S - HOUR_S
    _, sums = await store.sums("demo", start_s, start_s + 3 * HOUR_S, now_ns, {})
    await store.close()
    with closing(sqlite3.connect(settings.store)) as connection:
        assert_spans_once(connection, load.acknowledged * SPANS)
        kept = connection.execute("SELECT order_id, state FROM orders").fetchall()
    assert sorted(kept) == sorted((f"o{number}", "settled") for number in range(1, orders + 1))
    profit = sum((Decimal(PROFITS[number % 2]) for number in range(1, orders + 1)), Decimal(0))
    assert (sums[FLEET, ""].settled, sums[FLEET, ""].profit) == (orders, profit)
    # Deaths after a commit of spans, whose answer was lost: those spans were sent again, and were there already.
    assert load.sent_again > 0

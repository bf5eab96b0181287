"""A real metrics service, killed at any moment under load: what it acknowledged is there once, and nothing twice."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import sqlite3
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from derivfleet.common.clock import FleetClock
from derivfleet.metrics.cells import HOUR_S, WINDOW_S, Cell
from derivfleet.metrics.store import Store

if TYPE_CHECKING:
    from derivfleet.metrics.settings import MetricsSettings

KILLS = 4
SPANS = 40
SENDERS = 4


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


async def test_what_is_acknowledged_outlives_a_kill_and_counts_once(settings: MetricsSettings) -> None:
    draw = random.Random(5)  # noqa: S311 - reproducible on purpose
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    values = {**settings.model_dump(exclude_defaults=True), "listen": f"127.0.0.1:{port}"}
    own = {f"DERIVFLEET_METRICS_{name}".upper(): str(value) for name, value in values.items()}

    async def start() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "derivfleet.metrics",
            env={**os.environ, **own},
            stderr=asyncio.subprocess.DEVNULL,
        )

    now_ns = FleetClock().now_ns()
    load = Load(port, now_ns)
    senders = [asyncio.create_task(load.send()) for _ in range(SENDERS)]
    for _ in range(KILLS):
        process = await start()
        before = load.acknowledged
        async with asyncio.timeout(30):
            while load.acknowledged < before + draw.randrange(5, 60):  # noqa: ASYNC110 - at any moment
                await asyncio.sleep(0.005)
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    process = await start()
    load.ending = True
    await asyncio.wait_for(asyncio.gather(*senders), 30)
    process.kill()
    await process.wait()

    store = await Store.open(settings.store, "STORE")
    await store.close()
    connection = sqlite3.connect(settings.store)
    spans = load.acknowledged * SPANS
    assert connection.execute("SELECT SUM(spans) FROM parcels").fetchone() == (spans,)
    assert connection.execute("SELECT COUNT(*) FROM span_keys").fetchone() == (spans,)
    for level_s in (WINDOW_S, HOUR_S):
        rows = connection.execute("SELECT body FROM span_rollups WHERE level_s = ?", (level_s,))
        cells = [Cell.of(body) for (body,) in rows]
        assert sum(cell.counts["op gateway.check"] for cell in cells) == spans
        assert sum(sum(cell.bins["op gateway.check"].values()) for cell in cells) == spans
    connection.close()
    assert load.sent_again > 0

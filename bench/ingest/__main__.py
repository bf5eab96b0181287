"""``python -m bench.ingest``: figures to build/bench/ingest.json. ``--help`` tells what can be changed."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import grpc
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from .receivers import collector, metrics
from .record import record, recorded
from .replay import EXPORT_SPANS, exports, flat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .receivers import Receiver

TARGET = Path("build/bench/ingest.json")
RECORDING = Path("build/bench/spans.otlp")
SENDER_CORE = 1
AT_ONCE = 8
RESENT = 0.05
NS = 1_000_000_000
WEEK_S = 7 * 86_400
_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


async def send(port: int, requests: Sequence[bytes], bar: Progress) -> float:
    """Send all, some at once, each until it is acknowledged; returns how long that took in seconds."""
    task = bar.add_task("exports", total=len(requests))
    waiting = iter(requests)

    async def work(call: Any) -> None:
        for request in waiting:
            while True:
                try:
                    await call(request, timeout=60)
                    break
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                        raise
                    await asyncio.sleep(0.1)
            bar.advance(task)

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = cast("Any", channel).unary_unary(_METHOD)
        began_s = time.perf_counter()
        await asyncio.gather(*(work(call) for _ in range(AT_ONCE)))
        return time.perf_counter() - began_s


def measured(receiver: Receiver, requests: Sequence[bytes], spans: int, bar: Progress) -> dict[str, float]:
    """Spans a second of a receiver that has a core for itself."""
    before_s = receiver.cpu_s()
    took_s = asyncio.run(send(receiver.port, requests, bar))
    cpu_s = receiver.cpu_s() - before_s
    return {
        "spans_per_s": spans / took_s,
        "spans_per_cpu_s": spans / cpu_s,
        "cpu_of_its_core": cpu_s / took_s,
        "most_memory_mb": receiver.most_mb(),
    }


def kept(store: Path) -> dict[str, float]:
    """What lies in a store."""
    connection = sqlite3.connect(store)
    (spans, packed) = connection.execute("SELECT SUM(spans), SUM(LENGTH(body)) FROM parcels").fetchone()
    (keys,) = connection.execute("SELECT COUNT(*) FROM span_keys").fetchone()
    (sums,) = connection.execute("SELECT SUM(LENGTH(body)) FROM span_rollups").fetchone()
    connection.close()
    return {
        "spans": spans,
        "keys": keys,
        "packed_bytes": packed,
        "rollup_bytes": sums or 0,
        "file": store.stat().st_size,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=400_000, help="how many to send for the rate")
    parser.add_argument("--week-spans", type=int, default=1_000_000, help="how many to spread over the virtual week")
    parser.add_argument("--bots", type=int, default=1_000)
    parser.add_argument(
        "--seconds", type=int, default=30, help="of the real run that is recorded, if there is none yet"
    )
    parser.add_argument("--collector", type=Path, help="the binary of an OpenTelemetry Collector with span_metrics")
    given = parser.parse_args()
    console = Console()
    if not RECORDING.exists():
        console.print(f"recording {given.seconds} s of a real run to {RECORDING}")
        record(RECORDING, given.seconds)
    spans = flat(recorded(RECORDING))
    figures: dict[str, Any] = {"recorded_spans": len(spans), "export_spans": EXPORT_SPANS, "bots": given.bots}
    os.sched_setaffinity(0, {SENDER_CORE})
    with Progress(console=console, transient=True) as bar:
        now_ns = time.time_ns()
        requests = list(exports(spans, given.spans, given.bots, now_ns - 600 * NS, now_ns, 1))
        again = random.Random(2).sample(requests, int(len(requests) * RESENT))  # noqa: S311 - reproducible on purpose
        with tempfile.TemporaryDirectory() as folder, metrics(Path(folder)) as receiver:
            figures["metrics"] = measured(receiver, requests + again, given.spans + EXPORT_SPANS * len(again), bar)
            found = kept(Path(folder) / "metrics.sqlite")
            figures["metrics"]["kept_once"] = found["spans"] == found["keys"] == given.spans
        if given.collector:
            with tempfile.TemporaryDirectory() as folder, collector(given.collector, Path(folder)) as receiver:
                figures["collector"] = measured(receiver, requests, given.spans, bar)
            ratio = figures["metrics"]["spans_per_cpu_s"] / figures["collector"]["spans_per_cpu_s"]
            figures["ratio_to_collector"] = ratio
        del requests, again
        week = exports(spans, given.week_spans, given.bots, now_ns - WEEK_S * NS, now_ns, 3)
        with tempfile.TemporaryDirectory() as folder, metrics(Path(folder)) as receiver:
            requests = list(week)
            figures["week"] = measured(receiver, requests, given.week_spans, bar)
            receiver.process.terminate()
            receiver.process.wait(60)
            found = kept(Path(folder) / "metrics.sqlite")
            figures["week"] |= {
                "bytes_a_day": found["file"] / 7,
                "bytes_a_span": found["file"] / given.week_spans,
                "packed_bytes_a_span": found["packed_bytes"] / given.week_spans,
                "rollup_bytes_a_day": found["rollup_bytes"] / 7,
            }
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(figures, indent=2) + "\n")
    table = Table("of", "figure", "value", title=str(TARGET))
    for name, value in figures.items():
        parts = cast("dict[str, Any]", value) if isinstance(value, dict) else {"": value}
        for figure, number in parts.items():
            table.add_row(name, figure, str(number) if isinstance(number, bool) else f"{number:,.2f}")
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())

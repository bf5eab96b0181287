"""A real run of the fleet, and the OTLP requests that its services sent."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["record", "recorded"]

_LENGTH_BYTES = 4


def record(target: Path, seconds: int) -> int:
    """Run ``fleet.yaml`` on the simulator and keep every span that its metrics service received; returns how many."""
    with tempfile.TemporaryDirectory() as folder:
        program = [str(Path(sys.executable).parent / "derivfleet"), "up", "fleet.yaml", "--simulator"]
        done = subprocess.run(  # noqa: S603 - our own command
            [*program, "--duration", str(seconds), "--run-dir", folder], capture_output=True, text=True, check=False
        )
        stores = list(Path(folder).glob("metrics*.sqlite"))
        if not stores:
            raise RuntimeError(f"the run left no spans:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        store = sqlite3.connect(stores[0])
        bodies = [zlib.decompress(body) for (body,) in store.execute("SELECT body FROM parcels ORDER BY id")]
        store.close()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(b"".join(len(body).to_bytes(_LENGTH_BYTES, "big") + body for body in bodies))
    return sum(1 for request in recorded(target) for one in request.resource_spans for _ in one.scope_spans[0].spans)


def recorded(source: Path) -> Iterator[ExportTraceServiceRequest]:
    """The requests of a recording. Raises ValueError for a file that is none."""
    data = source.read_bytes()
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at : at + _LENGTH_BYTES], "big")
        at += _LENGTH_BYTES
        try:
            yield ExportTraceServiceRequest.FromString(data[at : at + length])
        except DecodeError:
            raise ValueError(f"{source} is no recording: delete it") from None
        at += length

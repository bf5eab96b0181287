"""The processes that take spans, each alone on a core: the metrics service, and an OpenTelemetry Collector."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from derivfleet.common.rpc.identity import Role
from derivfleet.common.rpc.token_file import issue_tokens

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

__all__ = ["Receiver", "collector", "metrics"]

_CORE = 0
_READY_S = 30.0
_FLEET = (
    "{fleet: bench, accounts: [{key: demo}], bots: [{name: over-4, strategy: digit_frequency, symbols: [1HZ100V]}]}"
)


@dataclass(frozen=True, slots=True)
class Receiver:
    """A process that listens for OTLP/gRPC at a port."""

    process: subprocess.Popen[bytes]
    port: int

    def cpu_s(self) -> float:
        """Seconds of processor time since its start."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def most_mb(self) -> float:
        """The most memory that was resident at once."""
        with open(f"/proc/{self.process.pid}/status") as status:  # noqa: PTH123 - a file of the kernel
            line = next(line for line in status if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(command: Sequence[str], port: int, log: Path, own: Mapping[str, str]) -> Generator[Receiver, None, None]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("DERIVFLEET_", "SPEED"))}
    with log.open("wb") as output:
        environment = {**inherited, **own}
        process = subprocess.Popen(list(command), env=environment, stdout=output, stderr=output)  # noqa: S603 - ours
    try:
        os.sched_setaffinity(process.pid, {_CORE})
        deadline = time.monotonic() + _READY_S
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not listen: {log.read_text()[-1000:]}")
            time.sleep(0.05)
        yield Receiver(process, port)
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def metrics(folder: Path) -> Generator[Receiver, None, None]:
    """The metrics service as it runs in a fleet, on a fresh store in ``folder``."""
    (folder / "fleet.yaml").write_text(_FLEET)
    tokens = issue_tokens({"metrics": Role.OBSERVER, "operator": Role.OPERATOR}, folder)
    port = _free_port()
    settings = {
        "LISTEN": f"127.0.0.1:{port}",
        "WEB": "127.0.0.1:0",
        "GATEWAY": "127.0.0.1:1",
        "TOKEN_FILE": str(folder / "metrics.token"),
        "TOKENS": str(tokens),
        "STORE": str(folder / "metrics.sqlite"),
        "FLEET": str(folder / "fleet.yaml"),
        "SPAN_DAYS": "14",
    }
    own = {f"DERIVFLEET_METRICS_{name}": value for name, value in settings.items()}
    with _running([sys.executable, "-m", "derivfleet.metrics"], port, folder / "metrics.log", own) as receiver:
        yield receiver


@contextmanager
def collector(binary: Path, folder: Path) -> Generator[Receiver, None, None]:
    """A Collector that makes span metrics of what it gets, and keeps none of it."""
    port = _free_port()
    config = {
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{port}"}}}},
        "processors": {"batch": {"timeout": "200ms", "send_batch_size": 512}},
        "connectors": {
            "span_metrics": {"dimensions": [{"name": "derivfleet.bot"}, {"name": "derivfleet.call"}]},
        },
        "exporters": {"prometheus": {"endpoint": f"127.0.0.1:{_free_port()}"}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {
                "traces": {"receivers": ["otlp"], "processors": ["batch"], "exporters": ["span_metrics"]},
                "metrics": {"receivers": ["span_metrics"], "exporters": ["prometheus"]},
            },
        },
    }
    (folder / "collector.yaml").write_text(json.dumps(config))
    command = [str(binary), "--config", str(folder / "collector.yaml")]
    with _running(command, port, folder / "collector.log", {"GOMAXPROCS": "1"}) as receiver:
        yield receiver

"""The processes that are measured, and those that measure: started with an environment, watched, ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Helper", "Program", "Usage", "free_port"]

READY_S = 60.0
END_S = 10.0
ANSWER_S = 180.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used: seconds of processor time since its start, megabytes of resident memory now."""

    cpu_s: float
    rss_mb: float


class Program:
    """One process of ours, ended with the block that it is started in."""

    def __init__(self, module: str, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.name = log.stem
        self._log = log
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("DERIVFLEET_", "SPEED"))}
        with log.open("w") as output:
            self._process = subprocess.Popen(  # noqa: S603 - modules of ours
                [sys.executable, "-m", *module.split()],
                env={**inherited, "GRPC_VERBOSITY": "ERROR", **(environment or {})},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
        self._measured = psutil.Process(self._process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    @property
    def usage(self) -> Usage:
        """Asked now."""
        times = self._measured.cpu_times()
        return Usage(times.user + times.system, self._measured.memory_info().rss / 2**20)

    def wait_for_port(self, port: int) -> None:
        """Return when somebody listens. Raises RuntimeError with the last line of the log if the process ends."""
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            self.check()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{self.name} does not listen after {READY_S:.0f} s")

    def check(self) -> None:
        """Raise RuntimeError with the last line of the log if the process has ended."""
        if self._process.poll() is not None:
            last = self._log.read_text().strip().rpartition("\n")[2]
            raise RuntimeError(f"{self.name} ended with {self._process.returncode}: {last}")

    def write(self, line: str) -> None:
        if self._process.stdin is None:
            raise RuntimeError(f"{self.name} has no input")
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def read(self) -> str:
        if self._process.stdout is None:
            raise RuntimeError(f"{self.name} has no output")
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(END_S)
            self.check()
        return line


class Helper(Program):
    """A client process: takes an order as a line of JSON, answers with a line of JSON."""

    def ask(self, **order: Any) -> None:
        """Give an order; its answer has to be taken before the next."""
        self.write(json.dumps(order))

    def answer(self) -> dict[str, Any]:
        """The answer to the last order."""
        found: dict[str, Any] = json.loads(self.read())
        return found

    def run(self, **order: Any) -> dict[str, Any]:
        """Give an order and wait for its answer."""
        self.ask(**order)
        return self.answer()

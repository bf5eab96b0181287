"""Programs that a check starts, and ends again whatever happens; and waiting for what they do."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = ["Processes", "fetch", "free_ports"]

T = TypeVar("T")
PATIENCE_S = 30.0
LAST_WORDS = 1500


def fetch(url: str, **parameters: str | float) -> Any:
    """The JSON that an address answers with."""
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    with urllib.request.urlopen(url + query, timeout=10) as answer:  # noqa: S310 - our own servers on loopback
        return json.load(answer)


def answers(url: str) -> bool:
    """Whether a server is there and content."""
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own servers on loopback
        return answer.status == 200


def free_ports(*names: str) -> dict[str, str]:
    """An address on loopback for each name."""
    probes = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
    try:
        return {name: f"127.0.0.1:{probe.getsockname()[1]}" for name, probe in probes.items()}
    finally:
        for probe in probes.values():
            probe.close()


class Processes:
    """Children, each with its log in ``folder``. Ended in the reverse order of their start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end(*reversed(list(self._running)))

    def start(self, name: str, command: Sequence[object], environment: Mapping[str, str]) -> None:
        """Start a program. Its output goes to ``<name>.log``."""
        with (self._folder / f"{name}.log").open("wb") as log:
            self._running[name] = subprocess.Popen(  # noqa: S603 - the check's own programs
                [str(part) for part in command],
                env={"PATH": os.environ["PATH"], "TMPDIR": str(self._folder), **environment},
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )

    def end(self, *names: str) -> None:
        """Ask all of them to end, then make them."""
        children = [self._running.pop(name) for name in names]
        for child in children:
            child.terminate()
        for child in children:
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def until(self, what: str, ask: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
        """Ask until the answer is true. Raises RuntimeError if a child has ended, TimeoutError if it takes too long."""
        end = time.monotonic() + patience_s
        last: object = None
        while time.monotonic() < end:
            for name, child in self._running.items():
                if child.poll() is not None:
                    words = (self._folder / f"{name}.log").read_text(errors="replace")[-LAST_WORDS:]
                    raise RuntimeError(f"{name} ended with {child.returncode}: {words}")
            try:
                if answer := ask():
                    return answer
            except (urllib.error.URLError, OSError) as error:
                last = error
            time.sleep(0.2)
        raise TimeoutError(f"{what}: not within {patience_s:.0f} s; last: {last!r}")

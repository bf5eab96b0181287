"""Samples of processes while they run: what the kernel says of them, and what they say of themselves in their logs."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ProcessSampler", "Series"]

_SKIP = frozenset({"event", "time_ns", "service", "level"})


@dataclass(slots=True)
class Series:
    """One observable of one process: times in wall seconds of the run, and values."""

    times: list[float] = field(default_factory=list[float])
    values: list[float] = field(default_factory=list[float])

    def add(self, time_s: float, value: float) -> None:
        self.times.append(time_s)
        self.values.append(value)

    def after(self, time_s: float) -> Series:
        """What came later."""
        pairs = [(at, value) for at, value in zip(self.times, self.values, strict=True) if at >= time_s]
        return Series([at for at, _ in pairs], [value for _, value in pairs])


class ProcessSampler:
    """Collects series by process and observable. Call :meth:`look` now and then."""

    def __init__(self) -> None:
        self.series: dict[str, dict[str, Series]] = {}
        self._began_s = time.monotonic()
        self._read: dict[Path, int] = {}

    @property
    def passed_s(self) -> float:
        """Wall seconds of the run."""
        return time.monotonic() - self._began_s

    def look(self, name: str, pid: int | None, log: Path) -> None:
        """Take a sample of one process; one that is not there has none."""
        if pid is not None:
            try:
                process = psutil.Process(pid)
                with process.oneshot():
                    self.add(name, "rss_mb", process.memory_info().rss / 1e6)
                    self.add(name, "descriptors", process.num_fds())
            except psutil.Error:
                return
        for vitals in self._vitals(log):
            for observable, value in vitals.items():
                self.add(name, observable, value)

    def add(self, name: str, observable: str, value: float) -> None:
        """Keep one value, seen now."""
        self.series.setdefault(name, {}).setdefault(observable, Series()).add(self.passed_s, value)

    def _vitals(self, log: Path) -> list[dict[str, int]]:
        """What a process has said of itself since it was last looked at."""
        try:
            with log.open("rb") as file:
                file.seek(self._read.get(log, 0))
                text = file.read()
        except OSError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._read[log] = self._read.get(log, 0) + len(whole)
        found: list[dict[str, int]] = []
        for line in whole.splitlines():
            if b'"event": "vitals"' in line:
                facts = json.loads(line)
                found.append(
                    {key: value for key, value in facts.items() if key not in _SKIP and isinstance(value, int)}
                )
        return found

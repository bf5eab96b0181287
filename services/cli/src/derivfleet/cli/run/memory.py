"""How much memory the processes of a run take."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil

from derivfleet.cli.run.summary import MemorySummary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from derivfleet.cli.run.supervisor import ChildView

__all__ = ["MemoryGauge"]

COMMAND = "derivfleet up"
"""What the command's own process is called: with a space, so that no bot has that name."""
BYTES_PER_MB = 1_000_000


class MemoryGauge:
    """Measures again and again, and remembers the moment at which all processes together took most."""

    def __init__(self) -> None:
        self.most: MemorySummary | None = None
        """None until it has measured."""

    def measure(self, children: Iterable[ChildView]) -> None:
        """Look at every process that lives, and at this one."""
        pids = {COMMAND: os.getpid()} | {child.name: child.pid for child in children if child.pid is not None}
        found = {name: size for name, pid in pids.items() if (size := _memory_mb(pid)) is not None}
        total = round(sum(found.values()), 1)
        if self.most is None or total > self.most.total_mb:
            self.most = MemorySummary(total_mb=total, by_process_mb=found)


def _memory_mb(pid: int) -> float | None:
    """What a process holds alone, and its share of what several hold (PSS); None if it has ended."""
    try:
        info = psutil.Process(pid).memory_full_info()
    except psutil.Error:
        return None
    # Only Linux tells shares; elsewhere what is shared is left out.
    return round(getattr(info, "pss", info.uss) / BYTES_PER_MB, 1)

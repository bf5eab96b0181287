"""What a crowded machine takes from a test, so that a bound on time can allow for it and for nothing else."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

__all__ = ["waited_s"]


def waited_s() -> float:
    """For how long the threads of this process were ready to run and had no processor, so far, in seconds.

    Linux tells; elsewhere it is 0.
    """
    waited_ns = 0
    for told in Path("/proc/self/task").glob("*/schedstat"):
        with suppress(OSError):  # the thread has ended
            waited_ns += int(told.read_text().split()[1])
    return waited_ns / 1e9

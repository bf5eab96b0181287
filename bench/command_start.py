"""What the command costs before it does anything: processor time of ``--help`` and of commands that end at once.

``python -m bench.command_start``; the least of five runs, user and system. A run folder that is not there ends a
command where it would begin its work; a fleet file that is not there does the same.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys

RUNS = 5
LOOKS = ("page", "status", "quota", "orders", "report", "trace", "alerts")
STARTS = ("up", "probe", "doctor")
NOT_THERE = "/nonexistent"


def seconds_of(words: tuple[str, ...]) -> float:
    """Processor seconds of one run of the command, the least of several."""
    found: list[float] = []
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "derivfleet.cli", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def main() -> None:
    """Print a line for each command."""
    # As for everybody who has not switched it off: the first run keeps the bytecode, the others find it.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    commands = [("--help",), *((name, "--help") for name in (*LOOKS, *STARTS))]
    commands += [(name, "--run-dir", NOT_THERE) for name in LOOKS]
    commands += [(name, f"{NOT_THERE}.yaml", "--simulator") for name in STARTS]
    for words in commands:
        print(f"{seconds_of(words):.2f} s  derivfleet {' '.join(words)}", flush=True)  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()

"""The memory of processes that live."""

from __future__ import annotations

import subprocess
import sys

from derivfleet.cli.run.memory import COMMAND, MemoryGauge
from derivfleet.cli.run.supervisor import ChildState, ChildView

GREEDY = "held = bytearray(b'x' * 60_000_000); print(len(held), flush=True); input()"


def child(name: str, pid: int | None) -> ChildView:
    return ChildView(name, ChildState.RUNNING, pid, 0, None, killed=False)


def test_the_moment_at_which_they_took_most_is_kept() -> None:
    gauge = MemoryGauge()
    gauge.measure([child("waits", None)])
    assert gauge.most is not None
    alone_mb = gauge.most.total_mb
    assert set(gauge.most.by_process_mb) == {COMMAND}
    with subprocess.Popen(  # noqa: S603 - our own Python
        [sys.executable, "-c", GREEDY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as greedy:
        assert greedy.stdout is not None
        assert greedy.stdout.readline() == "60000000\n"
        gauge.measure([child("greedy", greedy.pid)])
        greedy.communicate("\n")
    most = gauge.most
    assert most.total_mb > alone_mb + 50
    assert 60 < most.by_process_mb["greedy"] < 100
    gauge.measure([child("greedy", greedy.pid)])
    assert gauge.most == most, "what has ended takes nothing"

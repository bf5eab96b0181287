"""What bots say of themselves, written and read."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from bench.speedup.bot_logs import LogWriter, Operation, errors_in, read_log_file, read_logs
from derivfleet.common.clock import ManualClock

if TYPE_CHECKING:
    from pathlib import Path


async def test_notes_come_back_as_they_were_said(tmp_path: Path) -> None:
    clock = ManualClock(start_s=1000)
    notes = LogWriter(tmp_path / "notes", clock)
    wanted_ns = clock.now_ns()
    await clock.advance(2)
    notes.decided("one")
    with notes.operation("one", "ticks_history", wanted_ns):
        await clock.advance(1)
    with suppress(OSError), notes.operation("one", "buy"):
        await clock.advance(0.5)
        raise OSError("gone")
    notes.close()
    story = read_log_file(tmp_path / "notes")
    assert story.decided_ns == {"one": [1002 * 10**9]}
    assert story.operations == [
        Operation("one", "ticks_history", 1000 * 10**9, 1003 * 10**9),
        Operation("one", "buy", 1003 * 10**9, 1003_500_000_000),
    ]
    assert [one.took_ms for one in story.operations] == [3000, 500]


def test_a_purchase_lasts_until_something_is_known(tmp_path: Path) -> None:
    def line(event: str, order: int, time_s: float, **facts: str) -> str:
        said = {"event": event, "bot": "one", "order_id": f"one:R_10:{order}:0", "time_ns": round(time_s * 10**9)}
        return json.dumps(said | facts)

    log = tmp_path / "one.log"
    lines = [
        line("decided", 10, 10.1),
        line("order open", 10, 10.4, state="confirmed"),
        line("trade ended", 10, 12.0, outcome="settled"),
        "not one of ours",
        line("decided", 14, 14.0),
        line("order open", 14, 15.0, state="unknown"),
        line("trade ended", 14, 20.0, outcome="settled"),
        line("decided", 22, 22.0),
        line("trade ended", 22, 22.5, outcome="refused"),
        line("decided", 24, 24.0),
        '{"event": "order op',
    ]
    log.write_text("\n".join(lines))
    story = read_logs([log])
    assert [time_ns / 10**9 for time_ns in story.decided_ns["one"]] == [10.1, 14, 22, 24]
    assert [one.took_ms for one in story.operations] == pytest.approx([300, 6000, 500])
    assert {one.call for one in story.operations} == {"buy"}


def test_errors_in_logs_are_counted(tmp_path: Path) -> None:
    (tmp_path / "one.log").write_text('{"level": "error"}\nTraceback: "level": "error"\n{"level": "info"}\n')
    (tmp_path / "two.log").write_text('{"level": "error", "event": "x"}\n')
    assert errors_in(sorted(tmp_path.glob("*.log"))) == 2

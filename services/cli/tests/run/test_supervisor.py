"""The supervisor with real, tiny processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from derivfleet.cli.run.supervisor import ChildState, Program, Supervisor
from derivfleet.common.clock import FleetClock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

SPEED = 30.0
"""Thirty times faster than the wall, so that its waits cost the tests little."""
TIMEOUT_S = 60.0
SLEEP = "import time; time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
)
ORDERLY = """
import signal, sys, time
def end(*_):
    print("ended at", time.monotonic_ns(), flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture
async def supervisor() -> AsyncGenerator[Supervisor, None]:
    one = Supervisor(FleetClock(SPEED, time.time_ns()))
    yield one
    await one.stop([child.name for child in one.children], 1.0)


def program(folder: Path, name: str, code: str) -> Program:
    return Program(name, (sys.executable, "-c", code), dict(os.environ), folder / f"{name}.log")


async def eventually(is_so: Callable[[], bool], within_wall_s: float = TIMEOUT_S) -> None:
    end = time.monotonic() + within_wall_s
    while not is_so():
        assert time.monotonic() < end, "it did not come to pass in time"
        await asyncio.sleep(0.01)


def said(folder: Path, name: str) -> str:
    log = folder / f"{name}.log"
    return log.read_text() if log.exists() else ""


async def test_a_crashed_child_is_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    once = tmp_path / "once"
    code = f"""
import pathlib, sys, time
once = pathlib.Path({str(once)!r})
if not once.exists():
    once.touch()
    sys.exit(7)
time.sleep(600)
"""
    await supervisor.start(program(tmp_path, "bot", code))
    await eventually(lambda: supervisor.children[0].restarts == 1 and supervisor.children[0].state == "running")
    assert supervisor.children[0].exit_code == 7
    assert not supervisor.failure.done()


async def test_an_unasked_end_without_error_is_a_crash_too(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start(program(tmp_path, "bot", "pass"))
    await eventually(lambda: supervisor.children[0].restarts >= 1)


async def test_exit_code_2_is_final_and_its_last_line_is_told(supervisor: Supervisor, tmp_path: Path) -> None:
    code = """
import sys
print('{"event": "bot ended"}', file=sys.stderr)
print("bot: over-4: TOKEN: is wrong", file=sys.stderr)
print('{"event": "later"}', file=sys.stderr)
sys.exit(2)
"""
    await supervisor.start(program(tmp_path, "over-4", code))
    failure = await asyncio.wait_for(asyncio.shield(supervisor.failure), TIMEOUT_S)
    assert (failure.name, failure.line) == ("over-4", "bot: over-4: TOKEN: is wrong")
    (child,) = supervisor.children
    assert (child.state, child.restarts, child.exit_code) == (ChildState.FAILED, 0, 2)


async def test_children_end_in_the_order_that_is_asked_for(supervisor: Supervisor, tmp_path: Path) -> None:
    for name in ("simulator", "gateway", "bot"):
        await supervisor.start(program(tmp_path, name, ORDERLY))
        await eventually(lambda name=name: "up" in said(tmp_path, name))
    for name in ("bot", "gateway", "simulator"):
        await supervisor.stop([name], grace_s=TIMEOUT_S * SPEED)
    ended = {name: int(said(tmp_path, name).split()[-1]) for name in ("bot", "gateway", "simulator")}
    assert sorted(ended, key=ended.__getitem__) == ["bot", "gateway", "simulator"]
    assert {(child.state, child.exit_code, child.killed) for child in supervisor.children} == {("ended", 0, False)}


async def test_a_child_that_does_not_end_is_killed(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start(program(tmp_path, "deaf", STUBBORN))
    await eventually(lambda: "deaf" in said(tmp_path, "deaf"))
    await supervisor.stop(["deaf"], grace_s=3.0)
    (child,) = supervisor.children
    assert (child.state, child.exit_code, child.killed) == (ChildState.ENDED, -signal.SIGKILL, True)


async def test_a_child_that_waits_for_its_restart_is_not_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start(program(tmp_path, "bot", "import sys; sys.exit(1)"))
    await eventually(lambda: supervisor.children[0].restarts >= 4)
    await eventually(lambda: supervisor.children[0].state is ChildState.WAITING)
    await supervisor.stop(["bot"])
    restarts = supervisor.children[0].restarts
    await asyncio.sleep(0.4)
    assert (supervisor.children[0].state, supervisor.children[0].restarts) == (ChildState.ENDED, restarts)


async def test_who_insists_ends_everything_at_once(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start(program(tmp_path, "deaf", STUBBORN))
    await eventually(lambda: "deaf" in said(tmp_path, "deaf"))
    supervisor.kill_all()
    await eventually(lambda: supervisor.children[0].state is ChildState.ENDED)
    assert supervisor.children[0].exit_code == -signal.SIGKILL


async def test_a_child_lives_in_a_session_of_its_own(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start(program(tmp_path, "bot", SLEEP))
    pid = supervisor.children[0].pid
    assert pid is not None
    assert os.getsid(pid) == pid != os.getsid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")
@pytest.mark.parametrize("code", [SLEEP, STUBBORN])
async def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path, code: str) -> None:
    script = f"""
import asyncio, os, sys
from pathlib import Path
from derivfleet.cli.run.supervisor import Program, Supervisor
from derivfleet.common.clock import FleetClock

async def main():
    supervisor = Supervisor(FleetClock())
    for name in ("one", "two"):
        program = (sys.executable, "-c", {code!r})
        await supervisor.start(Program(name, program, dict(os.environ), Path({str(tmp_path)!r}) / name))
    print(*(child.pid for child in supervisor.children), flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    try:
        assert parent.stdout is not None
        pids = [int(word) for word in (await asyncio.wait_for(parent.stdout.readline(), TIMEOUT_S)).split()]
        assert len(pids) == 2
        assert all(psutil.pid_exists(pid) for pid in pids)
        await eventually(lambda: all("-c" in psutil.Process(pid).cmdline()[1:2] for pid in pids))
    finally:
        parent.kill()
        await parent.wait()
    await eventually(lambda: not any(_lives(pid) for pid in pids))


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_a_program_that_cannot_even_be_started_again_is_tried_again_later(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    one = program(tmp_path / "logs", "one", "import time; print('up', flush=True); time.sleep(600)")
    await supervisor.start(one)
    await eventually(lambda: "up" in said(tmp_path / "logs", "one"))
    # Its log cannot be opened any more, so it cannot be started.
    one.log.unlink()
    one.log.mkdir()
    (child,) = supervisor.children
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    await eventually(lambda: supervisor.children[0].restarts >= 2)
    assert supervisor.children[0].state is ChildState.WAITING
    one.log.rmdir()
    await eventually(lambda: "up" in said(tmp_path / "logs", "one"))
    await eventually(lambda: supervisor.children[0].state is ChildState.RUNNING)

"""Bots as forks, kept by a supervisor: with the real server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from derivfleet.cli.run.fork_server import ForkServer
from derivfleet.cli.run.program import Program
from derivfleet.cli.run.supervisor import ChildState, Supervisor
from derivfleet.common.clock import FleetClock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is used on Linux alone")

TIMEOUT_S = 60.0


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[ForkServer, None]:
    words = (sys.executable, "-m", "derivfleet.bot.fork_server")
    one = ForkServer(Program("fork_server", words, dict(os.environ), tmp_path / "logs/fork_server.log"))
    yield one
    await one.stop()


@pytest.fixture
def bot(tmp_path: Path) -> Callable[[str], Program]:
    """A bot whose gateway is not there, by its name."""
    fleet, token = tmp_path / "fleet.yaml", tmp_path / "token"
    fleet.write_text("bots: [{name: over-4, strategy: digit_frequency, symbols: [R_100]}]")
    token.write_text("over-4.secret")
    told = {"NAME": "over-4", "FLEET": str(fleet), "TOKEN_FILE": str(token), "GATEWAY": "127.0.0.1:1"}
    environment = {f"DERIVFLEET_BOT_{key}": value for key, value in told.items()}
    return lambda name: Program(name, (), environment, tmp_path / "logs" / f"{name}.log")


def works(program: Program) -> bool:
    """Whether it has come so far that it looks for its gateway, and so ends in order when it is told to."""
    return program.log.exists() and "gateway not there yet" in program.log.read_text()


async def eventually(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < end, "it did not come to pass in time"
        await asyncio.sleep(0.02)


def is_there(pid: int | None) -> bool:
    return pid is not None and Path(f"/proc/{pid}").exists()


async def test_forks_run_beside_each_other_and_end_with_their_own_codes(
    server: ForkServer, bot: Callable[[str], Program]
) -> None:
    assert server.pid is None
    one, two = await asyncio.gather(server.start(bot("over-4.1")), server.start(bot("over-4.2")))
    assert is_there(server.pid)
    assert (one.returncode, two.returncode) == (None, None)
    os.killpg(one.pid, signal.SIGKILL)
    assert await asyncio.wait_for(one.wait(), TIMEOUT_S) == -9
    assert two.returncode is None
    await eventually(lambda: works(bot("over-4.2")))
    os.killpg(two.pid, signal.SIGTERM)
    assert await asyncio.wait_for(two.wait(), TIMEOUT_S) == 0


async def test_a_server_that_dies_takes_its_forks_along_and_the_next_fork_has_a_new_one(
    server: ForkServer, bot: Callable[[str], Program]
) -> None:
    fork = await server.start(bot("over-4"))
    first = server.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert await asyncio.wait_for(fork.wait(), TIMEOUT_S) == -9
    await eventually(lambda: not is_there(fork.pid))
    again = await server.start(bot("over-4"))
    assert again.returncode is None
    assert server.pid not in (None, first)


async def test_a_server_that_cannot_start_is_an_error(tmp_path: Path, bot: Callable[[str], Program]) -> None:
    words = (sys.executable, "-c", "raise SystemExit(3)")
    server = ForkServer(Program("fork_server", words, dict(os.environ), tmp_path / "fork_server.log"))
    with pytest.raises(OSError):  # noqa: PT011 - whichever the pipe was in
        await server.start(bot("over-4"))
    await server.stop()


async def test_a_supervisor_keeps_forks_as_it_keeps_programs(server: ForkServer, bot: Callable[[str], Program]) -> None:
    supervisor = Supervisor(FleetClock(30.0, time.time_ns()))
    for name in ("over-4.1", "over-4.2"):
        await supervisor.start(bot(name), server.start)
    first = supervisor.children[0].pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: supervisor.children[0].restarts == 1)
    assert supervisor.children[1].restarts == 0
    await eventually(lambda: works(bot("over-4.1")) and works(bot("over-4.2")))
    await supervisor.stop(["over-4.1", "over-4.2"], grace_s=TIMEOUT_S * 30)
    assert [(one.state, one.exit_code, one.killed) for one in supervisor.children] == [(ChildState.ENDED, 0, False)] * 2


async def test_the_end_of_the_server_ends_what_is_left(server: ForkServer, bot: Callable[[str], Program]) -> None:
    fork = await server.start(bot("over-4"))
    await server.stop()
    assert fork.returncode == -9
    assert server.pid is None
    await eventually(lambda: not is_there(fork.pid))


async def test_a_server_that_does_not_end_is_killed(
    server: ForkServer, bot: Callable[[str], Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("derivfleet.cli.run.fork_server.STOP_TIMEOUT_S", 0.1)
    await server.start(bot("over-4"))
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    await asyncio.wait_for(server.stop(), TIMEOUT_S)
    assert server.pid is None

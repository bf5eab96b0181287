"""Keeps the processes of a local fleet: starts them, restarts them after a pause, ends them, lets none outlive it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from derivfleet.cli.run.restarts import GiveUp, Restart, restart_or_give_up
from derivfleet.cli.run.service_log import last_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from derivfleet.common.clock import Clock

__all__ = ["GRACE_S", "PARENT_DEATH_SCRIPT", "ChildState", "ChildView", "Failure", "Program", "Supervisor"]

GRACE_S = 10.0
"""Wall seconds between SIGTERM and SIGKILL."""
PARENT_DEATH_SCRIPT = Path(__file__).with_name("parent_death.py")


class ChildState(StrEnum):
    """How a child is."""

    RUNNING = "running"
    WAITING = "restarting"
    """It crashed and will be started again."""
    FAILED = "failed"
    """It ended because of its configuration."""
    ENDED = "ended"
    """It was told to end, and did."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to start. Its output goes to ``log``, appended."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path


@dataclass(frozen=True, slots=True)
class ChildView:
    """A child as others may see it."""

    name: str
    state: ChildState
    pid: int | None
    restarts: int
    exit_code: int | None
    """Of its last end; negative for a signal."""
    killed: bool
    """It did not end in time when told to, and was killed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A child that cannot run as it is configured, and the last line it said."""

    name: str
    line: str


class _Child:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.state = ChildState.WAITING
        self.process: asyncio.subprocess.Process | None = None
        self.keeper: asyncio.Task[None] | None = None
        self.restarts = 0
        self.exit_code: int | None = None
        self.killed = False
        self.is_ending = False


class Supervisor:
    """The parent of all processes. ``clock`` is the wall's: processes live in it whatever time the fleet keeps."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._children: dict[str, _Child] = {}
        self.failure: asyncio.Future[Failure] = asyncio.get_running_loop().create_future()
        """Done when a child has ended because of its configuration."""

    @property
    def children(self) -> list[ChildView]:
        """All children, in the order in which they were started."""
        return [
            ChildView(
                name,
                child.state,
                None if child.process is None else child.process.pid,
                child.restarts,
                child.exit_code,
                child.killed,
            )
            for name, child in self._children.items()
        ]

    async def start(self, program: Program) -> None:
        """Start a program and keep it running. Raises OSError if it cannot be started at all."""
        child = _Child(program)
        self._children[program.name] = child
        await self._spawn(child)
        child.keeper = asyncio.create_task(self._keep(child))

    async def stop(self, names: Iterable[str], grace_s: float = GRACE_S) -> None:
        """End children: SIGTERM to all of them at once, SIGKILL to those that are still there after ``grace_s``."""
        children = [self._children[name] for name in names if name in self._children]
        await asyncio.gather(*(self._end(child, grace_s) for child in children))

    def kill_all(self) -> None:
        """No more waiting: end every child at once."""
        for child in self._children.values():
            child.is_ending = True
            _signal(child.process, signal.SIGKILL)

    async def _spawn(self, child: _Child) -> None:
        program = child.program
        program.log.parent.mkdir(parents=True, exist_ok=True)
        with program.log.open("ab") as log:
            # A session of its own: Ctrl-C at the terminal reaches the supervisor alone, which ends the rest in order.
            child.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                str(PARENT_DEATH_SCRIPT),
                str(os.getpid()),
                *program.arguments,
                env=dict(program.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        child.state = ChildState.RUNNING

    async def _keep(self, child: _Child) -> None:
        failures = 0
        while child.process is not None:
            began_s = self._clock.now_s()
            child.exit_code = await child.process.wait()
            if child.is_ending:
                break
            ran_s = self._clock.now_s() - began_s
            match restart_or_give_up(child.program.name, child.exit_code, ran_s, failures):
                case GiveUp():
                    child.state = ChildState.FAILED
                    if not self.failure.done():
                        self.failure.set_result(Failure(child.program.name, last_line(child.program.log)))
                    return
                case Restart(after_s, failures):
                    child.state = ChildState.WAITING
                    await self._clock.sleep(after_s)
                    if child.is_ending:
                        break
                    child.restarts += 1
                    # If not even that works (no memory, a full disk), the old process has ended once more.
                    with suppress(OSError):
                        await self._spawn(child)
        child.state = ChildState.ENDED

    async def _end(self, child: _Child, grace_s: float) -> None:
        child.is_ending = True
        if child.keeper is None or child.keeper.done():
            return
        if child.state is ChildState.WAITING:
            child.keeper.cancel()
            await asyncio.wait((child.keeper,))
            # It may just have been started again when it was told to end.
        if child.state is not ChildState.WAITING:
            _signal(child.process, signal.SIGTERM)
            with suppress(TimeoutError):
                async with self._clock.timeout(grace_s):
                    await _wait(child)
            if child.process is not None and child.process.returncode is None:
                child.killed = True
                _signal(child.process, signal.SIGKILL)
                await _wait(child)
        child.state = ChildState.ENDED


async def _wait(child: _Child) -> None:
    if child.process is not None:
        child.exit_code = await child.process.wait()


def _signal(process: asyncio.subprocess.Process | None, number: signal.Signals) -> None:
    if process is not None and process.returncode is None:
        with suppress(ProcessLookupError):
            # The whole group: what a child may have started ends with it.
            os.killpg(process.pid, number)

"""A probe's process, from its start to its end: what it says on the way, and how far it is."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from derivfleet.cli.supervisor import LEASH

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from derivfleet.cli.supervisor import Program
    from derivfleet.common.clock import Clock

__all__ = ["Course", "run_probe"]

LONGEST_LINE = 1 << 20
LOOK_EVERY_S = 0.2
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_probe(program: Program, hear: Callable[[dict[str, Any]], None]) -> int:
    """Run a probe to its end and return its exit code; ``hear`` gets what it says.

    One interrupt lets it end in order, with a report of what it has found so far; a second one ends it at once.
    """
    program.log.parent.mkdir(parents=True, exist_ok=True)
    with program.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), *program.arguments),
            env=dict(program.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            limit=LONGEST_LINE,
        )
    interrupts = 0

    def interrupt() -> None:
        nonlocal interrupts
        interrupts += 1
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM if interrupts == 1 else signal.SIGKILL)

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, interrupt)
    try:
        if process.stdout is not None:
            async for line in process.stdout:
                hear(json.loads(line))
        return await process.wait()
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
        if process.returncode is None:
            process.kill()
            await process.wait()


class Course:
    """How far a probe is, on a terminal as a bar, in a pipe as a line for each step."""

    def __init__(self, usual_s: float, speed: float, clock: Clock, console: Console) -> None:
        """``usual_s`` is what all steps take, by the probe's own clock, which runs ``speed`` times faster."""
        self._speed = speed
        self._clock = clock
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:24}"), BarColumn(), TimeElapsedColumn(), console=console, transient=True
        )
        self._task = self._progress.add_task("", total=usual_s)
        self._before_s = 0.0
        self._step: dict[str, Any] = {"name": "begins", "usual_s": 0.0}
        self._since_s = clock.now_s()
        self._waits_until_s = 0.0

    def hear(self, event: dict[str, Any]) -> None:
        """Take an event of the probe."""
        now_s = self._clock.now_s()
        match event["event"]:
            case "step":
                self._before_s += self._step["usual_s"]
                self._step, self._since_s, self._waits_until_s = event, now_s, 0.0
                if not self._console.is_terminal:
                    self._console.print(f"{event['what']} …", markup=False, highlight=False, soft_wrap=True)
            case "waiting":
                self._waits_until_s = now_s + event["seconds"] / self._speed
            case _:
                pass

    @property
    def done_s(self) -> float:
        """How much of the usual time is behind it."""
        passed_s = (self._clock.now_s() - self._since_s) * self._speed
        return self._before_s + min(passed_s, self._step["usual_s"])

    async def show(self) -> None:
        """Draw until cancelled."""
        with self._progress:
            while True:
                left_s = (self._waits_until_s - self._clock.now_s()) * self._speed
                waiting = f" (waiting {left_s:.0f} s)" if left_s > 1 else ""
                self._progress.update(self._task, completed=self.done_s, description=f"{self._step['name']}{waiting}")
                await self._clock.sleep(LOOK_EVERY_S)

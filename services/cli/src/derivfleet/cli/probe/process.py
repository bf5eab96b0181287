"""A probe's process, from its start to its end, and what it says on the way."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from derivfleet.cli.run.supervisor import PARENT_DEATH_SCRIPT

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.cli.run.supervisor import Program

__all__ = ["run_probe"]

LONGEST_LINE = 1 << 20
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_probe(program: Program, hear: Callable[[dict[str, Any]], None]) -> int:
    """Run a probe to its end and return its exit code; ``hear`` gets what it says.

    One interrupt lets it end in order, with a report of what it has found so far; a second one ends it at once.
    """
    program.log.parent.mkdir(parents=True, exist_ok=True)
    with program.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(PARENT_DEATH_SCRIPT), str(os.getpid()), *program.arguments),
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

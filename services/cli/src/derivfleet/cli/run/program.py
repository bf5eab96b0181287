"""A program as a process of ours: it lives in a session of its own, and dies with whoever started it."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LONGEST_LINE", "PARENT_DEATH_SCRIPT", "Program", "start_program"]

PARENT_DEATH_SCRIPT = Path(__file__).with_name("parent_death.py")
LONGEST_LINE = 1 << 20
"""Of what is read from a program that talks to us."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to start. Its output goes to ``log``, appended."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path


async def start_program(program: Program, *, hears: bool = False, speaks: bool = False) -> asyncio.subprocess.Process:
    """Start it; with pipes if it ``hears`` (standard input) or ``speaks`` (standard output). Raises OSError."""
    program.log.parent.mkdir(parents=True, exist_ok=True)
    with program.log.open("ab") as log:
        # A session of its own: Ctrl-C at the terminal reaches this process alone, which ends the rest in order.
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(PARENT_DEATH_SCRIPT), str(os.getpid()), *program.arguments),
            env=dict(program.environment),
            stdin=asyncio.subprocess.PIPE if hears else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if speaks else log,
            stderr=log,
            start_new_session=True,
            limit=LONGEST_LINE,
        )

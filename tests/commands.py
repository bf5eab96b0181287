"""The ``derivfleet`` command as a process, for tests that type it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ports import free_port

__all__ = ["CANARY", "ROOT", "first_port", "run", "start"]

ROOT = Path(__file__).parents[1]
CANARY = "canary-90d1fe22ab"
COMMAND = [sys.executable, "-m", "derivfleet.cli"]


def start(*arguments: str, stdin: int = subprocess.DEVNULL, **variables: str) -> subprocess.Popen[str]:
    """Start it at the root of the project, with these variables besides."""
    return subprocess.Popen(  # noqa: S603 - our own command
        [*COMMAND, *arguments],
        cwd=ROOT,
        env={**os.environ, "TERM": "dumb", "COLUMNS": "120", **variables},
        text=True,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def run(*arguments: str, **variables: str) -> tuple[int, str]:
    """Run it to its end: exit code and all that it said."""
    process = start(*arguments, stdin=subprocess.DEVNULL, **variables)
    out, _ = process.communicate(timeout=120)
    return process.returncode, out


def first_port() -> str:
    """A base whose whole block of ports is free."""
    return str(free_port(80, 100, 200))

"""What a command loads before it does anything: help is quick because it loads nothing to work with."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    *("aiohttp", "asyncio", "google.protobuf", "grpc", "httpx", "opentelemetry"),
    *("prometheus_client", "psutil", "structlog", "yaml"),
}
"""What commands work with. Together it takes a second of processor time to load."""
OURS = ("derivfleet.v1", "derivfleet.cli.run.loop", "derivfleet.cli.clients", "derivfleet.cli.screens")
TYPERS_OWN = {"pydantic"}
"""Typer checks parameters with it, even those of a command that is only asked for its help."""
COMMANDS = ("up", "page", "status", "quota", "orders", "report", "trace", "doctor", "probe", "alerts")


def loaded(*words: str) -> set[str]:
    """The modules and packages that a process of the command imports."""
    process = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-X", "importtime", "-m", "derivfleet.cli", *words],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in process.stderr.splitlines() if line.startswith("import time:")]
    modules = {line.rpartition("|")[2].strip() for line in lines}
    assert "typer" in modules
    return {".".join(module.split(".")[:count]) for module in modules for count in range(1, module.count(".") + 2)}


def test_help_loads_nothing_to_work_with() -> None:
    assert not loaded("--help") & {*HEAVY, *OURS, *TYPERS_OWN}


@pytest.mark.parametrize("words", [*((command,) for command in COMMANDS), ("orders", "resolve"), ("alerts", "silence")])
def test_help_of_a_command_loads_nothing_to_work_with(words: tuple[str, ...]) -> None:
    assert not loaded(*words, "--help") & {*HEAVY, *OURS}

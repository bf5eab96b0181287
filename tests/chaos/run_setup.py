"""Where such a run takes place: a folder, ports, tokens and a plan; and waiting for real processes."""

from __future__ import annotations

import asyncio
import shutil
import time
from typing import TYPE_CHECKING, Any

import aiohttp

from derivfleet.cli.run.plan import Plan, Simulated, credential_for
from derivfleet.cli.run.run_dir import RunDir
from derivfleet.common.rpc.identity import Role
from derivfleet.common.rpc.token_file import issue_tokens
from tests.chaos.processes import free_ports

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from derivfleet.common.fleet import Fleet
    from derivfleet.deriv.vocabulary import Dialect

__all__ = ["READY_WALL_S", "answers", "fetch", "prepared", "until"]

READY_WALL_S = 60.0
_RICH = 'start_balance: "100000000.00"\n'
"""An account that days of losing cannot empty."""


def prepared(folder: Path, fleet: Fleet, dialect: Dialect, speed: float, seed: str = "1") -> Plan:
    """An empty folder made ready for a fleet on a simulator of its own. Raises OSError if four ports are not free."""
    shutil.rmtree(folder, ignore_errors=True)
    run_dir = RunDir(folder.resolve())
    run_dir.prepare(simulated=True)
    run_dir.write_fleet(fleet, dialect)
    bearers = {bot.name: Role.BOT for bot in fleet.bots} | {"operator": Role.OPERATOR, "metrics": Role.OBSERVER}
    issue_tokens(bearers, run_dir.tokens)
    settings = run_dir.path / "simulator.yaml"
    settings.write_text(_RICH)
    return Plan(run_dir, free_ports(), credential_for(dialect), Simulated(seed, settings), speed, time.time_ns())


async def until(holds: Callable[[], Awaitable[bool]], patience_s: float = READY_WALL_S) -> None:
    """Ask until it holds. Raises TimeoutError."""
    async with asyncio.timeout(patience_s):
        while not await holds():  # noqa: ASYNC110 - a process does what it does, and sets no event of ours
            await asyncio.sleep(0.1)


async def answers(url: str) -> bool:
    """Whether something is served there."""
    try:
        await fetch(url)
    except (aiohttp.ClientError, TimeoutError):
        return False
    return True


async def fetch(url: str) -> dict[str, Any]:
    """The JSON object there."""
    async with aiohttp.ClientSession() as session, session.get(url, timeout=aiohttp.ClientTimeout(60)) as answer:
        answer.raise_for_status()
        body: dict[str, Any] = await answer.json()
        return body

"""One design on a simulator of its own for an hour: processes up, faults on, ledger read, processes down."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from bench.speedup.bot_logs import BotLog, errors_in, read_log_file, read_logs
from bench.speedup.figures import Run, purchases_of
from bench.speedup.hour import Hour
from derivfleet.cli.clients import is_serving
from derivfleet.cli.errors import CommandError
from derivfleet.cli.run.environments import environment_of
from derivfleet.cli.run.plan import Plan, Simulated, credential_for
from derivfleet.cli.run.ports import Ports, check_free
from derivfleet.cli.run.run_dir import RunDir
from derivfleet.cli.run.service_log import last_line
from derivfleet.cli.run.supervisor import Program, Supervisor
from derivfleet.common.clock import NS_PER_S, ORIGIN_VARIABLE, SPEED_VARIABLE, FleetClock
from derivfleet.common.fleet import load_fleet
from derivfleet.common.rpc.identity import Role
from derivfleet.common.rpc.token_file import issue_tokens
from derivfleet.deriv.vocabulary import Dialect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from derivfleet.common.fleet import Fleet

__all__ = ["FAULTS", "SEED", "Design", "DesignRun", "RunProgress"]

FLEET_FILE = Path(__file__).with_name("fleet.yaml")
SEED = "1"
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "drop_after", "call": "buy", "probability": 0.001},
    {"kind": "delay", "call": "buy", "probability": 0.002, "delay_s": 20.0},
)
"""What goes wrong in the hour: of a thousand purchases one is made and then the socket dies instead of answering, and
two are answered after 20 seconds. Which ones follows from the seed, by their number."""
FIRST_PORT = 21_900
BOOT_WALL_S = 30.0
"""From the start of the first process to the hour. What is traded before does not count."""
LOOK_EVERY_WALL_S = 0.5


class Design(StrEnum):
    """What is compared."""

    LOCK = "lock"
    SOCKETS = "sockets"
    FLEET = "fleet"


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How a run stands."""

    passed_s: float
    """Of the hour, in fleet seconds; negative before it."""
    buys: int
    """In the hour."""


@dataclass(frozen=True, slots=True)
class _Calls:
    accepted: Mapping[str, int]
    refused: Mapping[str, int]

    def since(self, earlier: _Calls) -> _Calls:
        return _Calls(_less(self.accepted, earlier.accepted), _less(self.refused, earlier.refused))


class DesignRun:
    """Runs one design. ``speed`` is fleet seconds a second, ``show`` hears how it goes."""

    def __init__(
        self, design: Design, speed: float, minutes: float, folder: Path, show: Callable[[RunProgress], None]
    ) -> None:
        self._design = design
        self._show = show
        self._run_dir = RunDir(folder.resolve())
        self._ports = Ports.from_base(FIRST_PORT)
        self._hour = Hour.beginning_at(time.time_ns() + round(BOOT_WALL_S * 1e9), speed, minutes)
        self._clock = FleetClock(speed, self._hour.origin_ns)
        self._supervisor = Supervisor(FleetClock())
        self._late_ms: list[float] = []

    async def run(self) -> Run:
        """Trade the hour.

        Raises CommandError if a process does not come up in time or ends early, ConfigurationError if a port is taken.
        """
        check_free(self._ports.needed(simulated=True))
        shutil.rmtree(self._run_dir.path, ignore_errors=True)
        self._run_dir.prepare(simulated=True)
        fleet = self._run_dir.write_fleet(load_fleet(FLEET_FILE), Dialect.OPTIONS)
        traders: list[str] = []
        try:
            async with aiohttp.ClientSession(f"http://{self._ports.simulator}") as http:
                traders = await self._start(fleet, http)
                calls, account = await self._trade(http)
        finally:
            await self._supervisor.stop(traders)
            await self._supervisor.stop([child.name for child in self._supervisor.children][::-1])
        return Run(
            hour=self._hour,
            purchases=purchases_of(account, fleet),
            accepted=calls.accepted,
            refused=calls.refused,
            story=self._story(fleet),
            errors=errors_in(sorted((self._run_dir.path / "logs").glob("*.log"))),
            late_ms=self._late_ms,
        )

    async def _start(self, fleet: Fleet, http: aiohttp.ClientSession) -> list[str]:
        """Bring the design up; returns the processes that trade."""
        plan = Plan(
            run_dir=self._run_dir,
            ports=self._ports,
            credential=credential_for(Dialect.OPTIONS),
            simulated=Simulated(SEED),
            speed=self._hour.speed,
            origin_ns=self._hour.origin_ns,
        )
        await self._supervisor.start(self._program("simulator", "derivfleet.simulator", plan))
        await self._until("the simulator", lambda: _answers(http))
        if self._design is not Design.FLEET:
            (account, *_) = (await _fetch(http, "/ledger"))["accounts"]
            told = {
                "DERIVFLEET_BENCH_URL": f"http://{self._ports.simulator}",
                "DERIVFLEET_BENCH_ACCOUNT": account["loginid"],
                "DERIVFLEET_BENCH_APP_ID": plan.credential.app_id,
                "DERIVFLEET_BENCH_TOKEN": plan.credential.token,
                "DERIVFLEET_BENCH_FLEET": str(self._run_dir.fleet_file),
                "DERIVFLEET_BENCH_NOTES": str(self._notes),
            }
            await self._supervisor.start(self._program(self._design, f"bench.speedup.{self._design}", plan, told))
            return [self._design]
        issue_tokens({bot.name: Role.BOT for bot in fleet.bots}, self._run_dir.tokens)
        await self._supervisor.start(
            self._program("gateway", "derivfleet.gateway", plan, {"DERIVFLEET_GATEWAY_OTLP_ENDPOINT": ""})
        )
        await self._until("the gateway", lambda: is_serving(self._ports.gateway))
        bots = [bot.name for bot in fleet.bots]
        for bot in bots:
            await self._supervisor.start(
                self._program(bot, "derivfleet.bot", plan, {"DERIVFLEET_BOT_OTLP_ENDPOINT": ""})
            )
        return bots

    def _program(self, name: str, module: str, plan: Plan, told: Mapping[str, str] | None = None) -> Program:
        """A process with the environment that ``derivfleet up`` would give it, and ``told``."""
        if module.startswith("bench."):
            environment = {key: value for key, value in os.environ.items() if not key.startswith("DERIVFLEET_")}
            environment |= {SPEED_VARIABLE: f"{plan.speed:g}", ORIGIN_VARIABLE: str(plan.origin_ns)}
        else:
            environment = environment_of(name, plan, os.environ)
        return Program(name, (sys.executable, "-m", module), {**environment, **(told or {})}, self._run_dir.log(name))

    async def _until(self, who: str, is_ready: Callable[[], Awaitable[bool]]) -> None:
        while not await is_ready():
            if self._clock.now_ns() >= self._hour.start_ns:
                raise CommandError(f"{who} was not ready within {BOOT_WALL_S:.0f} s")
            self._check_children()
            await asyncio.sleep(LOOK_EVERY_WALL_S / 5)

    async def _trade(self, http: aiohttp.ClientSession) -> tuple[_Calls, Mapping[str, Any]]:
        """See the hour through; returns its calls and the account as it was right after."""
        await self._watch_until(self._hour.start_ns, http, None)
        before = await _calls(http)
        if not before.accepted.get("buy"):
            raise CommandError(f"{self._design} bought nothing in its {BOOT_WALL_S:.0f} s of warming up")
        for fault in FAULTS:
            async with http.post("/faults", json=fault) as answer:
                answer.raise_for_status()
        await self._watch_until(self._hour.end_ns, http, before)
        calls = (await _calls(http)).since(before)
        ledger = await _fetch(http, "/ledger")
        (self._run_dir.path / "ledger.json").write_text(json.dumps(ledger))
        (account,) = [one for one in ledger["accounts"] if one["contracts"]]
        return calls, account

    async def _watch_until(self, time_ns: int, http: aiohttp.ClientSession, before: _Calls | None) -> None:
        while (left_ns := time_ns - self._clock.now_ns()) > 0:
            self._check_children()
            buys = (await _calls(http)).since(before).accepted.get("buy", 0) if before else 0
            self._show(RunProgress((self._clock.now_ns() - self._hour.start_ns) / NS_PER_S, buys))
            pause_s = min(LOOK_EVERY_WALL_S, self._clock.wall_s(left_ns / NS_PER_S))
            asleep_s = time.monotonic()
            await asyncio.sleep(pause_s)
            self._late_ms.append(1000 * (time.monotonic() - asleep_s - pause_s))

    def _check_children(self) -> None:
        """A process that ends, ends the run: what it would have traded is missing."""
        for child in self._supervisor.children:
            if child.exit_code is not None or child.restarts:
                raise CommandError(f"{child.name} ended: {last_line(self._run_dir.log(child.name))}")

    @property
    def _notes(self) -> Path:
        return self._run_dir.path / "notes.jsonl"

    def _story(self, fleet: Fleet) -> BotLog:
        if self._design is not Design.FLEET:
            return read_log_file(self._notes)
        return read_logs(self._run_dir.log(bot.name) for bot in fleet.bots)


async def _fetch(http: aiohttp.ClientSession, path: str) -> dict[str, Any]:
    async with http.get(path) as answer:
        answer.raise_for_status()
        body: dict[str, Any] = await answer.json()
        return body


async def _answers(http: aiohttp.ClientSession) -> bool:
    try:
        return bool(await _fetch(http, "/health"))
    except aiohttp.ClientError:
        return False


async def _calls(http: aiohttp.ClientSession) -> _Calls:
    counted = (await _fetch(http, "/ledger/calls"))["calls"]
    return _Calls(
        {name: count["accepted"] for name, count in counted.items()},
        {name: count["refused"] for name, count in counted.items()},
    )


def _less(later: Mapping[str, int], earlier: Mapping[str, int]) -> dict[str, int]:
    return {name: count - earlier.get(name, 0) for name, count in later.items()}

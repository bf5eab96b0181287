"""``derivfleet probe`` at work: asks before it begins, runs the probe, tells what it found."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from derivfleet.cli.clients import is_serving
from derivfleet.cli.errors import EXIT_FAILED, CommandError
from derivfleet.cli.probe.process import run_probe
from derivfleet.cli.probe.progress import ProbeProgress
from derivfleet.cli.run.environments import environment_of_probe
from derivfleet.cli.run.service_log import last_line
from derivfleet.cli.run.startup import Startup
from derivfleet.cli.run.supervisor import Program, Supervisor
from derivfleet.common.errors import EXIT_CONFIGURATION, ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console

    from derivfleet.cli.run.plan import Plan
    from derivfleet.cli.run.ports import Ports
    from derivfleet.cli.run.run_dir import RunDir
    from derivfleet.common.clock import FleetClock
    from derivfleet.common.fleet import Fleet

__all__ = ["EXIT_NOT_DEMO", "ProbeSession", "gateway_beside"]

EXIT_NOT_DEMO = 3
_FILES = ("report.json", "report.md", "settings.yaml")


class ProbeSession:
    """The command at work: it explains, asks, measures and tells."""

    def __init__(self, plan: Plan, fleet: Fleet, told: dict[str, str], clock: FleetClock, console: Console) -> None:
        self._plan = plan
        self._fleet = fleet
        self._told = told
        self._clock = clock
        self._console = console

    async def run(self, run_dir: RunDir, *, yes: bool) -> None:
        """Ask, measure, tell. Raises CommandError if something was not found out."""
        self._clear()
        supervisor = Supervisor(self._clock)
        try:
            if self._plan.simulated is not None:
                await Startup(self._plan, self._fleet, supervisor, self._clock, self._say).start_simulator()
            elif gateway := await gateway_beside(run_dir, self._plan.ports):
                self._say(
                    f"WARNING: a gateway runs at {gateway}. If it uses this account, stop it: its calls count too."
                )
            plan = await self._planned()
            self._explain(plan)
            if not yes:
                self._console.print("Go on? [y/N] ", end="", markup=False, highlight=False)
                if not await _agreed():
                    raise CommandError("nothing was measured, for you did not say yes")
            await self._measure(plan)
        finally:
            await supervisor.stop([child.name for child in supervisor.children])

    def _clear(self) -> None:
        """An old report must not be taken for the new one."""
        try:
            for name in (*_FILES, "logs/probe.log", "logs/simulator.log"):
                (self._plan.run_dir.path / name).unlink(missing_ok=True)
            self._plan.run_dir.log("probe").parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError("--out", f"cannot use {self._plan.run_dir.path}: {error.strerror}") from None

    async def _planned(self) -> dict[str, Any]:
        """What the probe would do, as it says itself; it logs in for that, and calls nothing more."""
        heard: list[dict[str, Any]] = []
        code = await run_probe(self._program(), heard.append)
        plans = [event for event in heard if event["event"] == "plan"]
        if code or not plans:
            self._failed(code)
        return plans[0]

    async def _measure(self, plan: dict[str, Any]) -> None:
        progress = ProbeProgress(plan["usual_s"], self._plan.speed, self._clock, self._console)
        reports: list[dict[str, Any]] = []

        def hear(event: dict[str, Any]) -> None:
            progress.hear(event)
            if event["event"] == "report":
                reports.append(event)

        showing = asyncio.create_task(progress.show()) if self._console.is_terminal else None
        try:
            code = await run_probe(self._program(CONFIRMED=plan["login_id"]), hear)
        finally:
            if showing is not None:
                showing.cancel()
                await asyncio.wait((showing,))
        if not reports:
            self._failed(code)
        self._say("")
        for report in reports:
            self._say(report["text"])
            self._say(f"\nfor the fleet file:\n\n{report['settings']}")
            self._say(f"kept in {', '.join(report['files'])}")
        if code == EXIT_FAILED:
            raise CommandError("not everything was found out: the report says why")
        if code:
            self._failed(code)

    def _failed(self, code: int) -> NoReturn:
        """The probe has said why on its last line."""
        log = self._plan.run_dir.log("probe")
        line = last_line(log).removeprefix("probe: ")
        key, _, problem = line.partition(": ")
        if code == EXIT_CONFIGURATION:
            raise ConfigurationError(key, problem)
        if code == EXIT_NOT_DEMO:
            typer.echo(f"derivfleet: refused: {problem}", err=True)
            raise typer.Exit(EXIT_NOT_DEMO)
        raise CommandError(f"the probe failed: {line} ({log} tells more)")

    def _explain(self, plan: dict[str, Any]) -> None:
        where = "the simulator's" if self._plan.simulated is not None else "Deriv's"
        cash = f"{plan['balance']} {plan['currency']}"
        self._say(f"{plan['login_id']}, a demo account on {where} {plan['dialect']} API with {cash}:")
        for step in plan["steps"]:
            self._say(f"  {step['name']:8} {step['what']}; at most {step['calls']} calls")
        self._say(
            f"In all at most {plan['calls']} calls, about {_minutes(plan['usual_s'])} and at most "
            f"{_minutes(plan['most_s'])}; stake {plan['stake']}: it buys nothing. Let nothing else use the account."
        )

    def _program(self, **told: str) -> Program:
        return Program(
            name="probe",
            arguments=(sys.executable, "-m", "derivfleet.probe"),
            environment=environment_of_probe(self._plan, {**self._told, **told}, os.environ),
            log=self._plan.run_dir.log("probe"),
        )

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


async def gateway_beside(run_dir: RunDir, ports: Ports) -> str:
    """Where a gateway answers that may use the same account: the one of a run, or at the usual port; empty if none."""
    try:
        run = run_dir.running()
        gateway = "" if run.simulated else run.gateway
    except CommandError:
        gateway = ports.gateway
    return gateway if gateway and await is_serving(gateway) else ""


async def _agreed() -> bool:
    """Whether the next line of standard input says yes; nothing there is a no."""
    answered = asyncio.Event()
    loop = asyncio.get_running_loop()
    try:
        number = sys.stdin.fileno()
        loop.add_reader(number, answered.set)
    except (OSError, ValueError):
        return False
    try:
        await answered.wait()
    finally:
        loop.remove_reader(number)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes"

"""``derivfleet probe``: measure on a demo account what Deriv does not publish about its limits."""

from __future__ import annotations

import asyncio
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from derivfleet.cli.client import is_serving
from derivfleet.cli.complaints import EXIT_FAILED, CommandError
from derivfleet.cli.environments import Plan, Simulated, environment_of_probe
from derivfleet.cli.launch import Launch
from derivfleet.cli.ports import BASE_PORT, MOST_BASE_PORT, Ports, check_free
from derivfleet.cli.probing import Course, run_probe
from derivfleet.cli.rundir import DEFAULT_RUN_DIR, RunDir
from derivfleet.cli.supervisor import Program, Supervisor, last_line
from derivfleet.cli.up import DialectChoice, credential_for, dialect_of
from derivfleet.cli.view import open_console
from derivfleet.common.clock import FleetClock
from derivfleet.common.errors import EXIT_CONFIGURATION, ConfigurationError
from derivfleet.common.fleet import load_fleet

if TYPE_CHECKING:
    from rich.console import Console

    from derivfleet.common.fleet import Fleet

__all__ = ["EXIT_NOT_DEMO", "ExperimentChoice", "gateway_beside", "probe"]

EXIT_NOT_DEMO = 3
_FILES = ("report.json", "report.md", "settings.yaml")


class ExperimentChoice(StrEnum):
    """What ``--only`` takes: the probe's own names."""

    CLOCK = "clock"
    LATENCY = "latency"
    STREAMS = "streams"
    SOCKETS = "sockets"
    WINDOW = "window"


def probe(
    fleet_file: Annotated[Path, typer.Argument(metavar="FLEET", help="The fleet file, for its account.")] = Path(
        "fleet.yaml"
    ),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it begins.")] = False,
    only: Annotated[
        list[ExperimentChoice] | None, typer.Option(help="Only this, and the clock; may be given several times.")
    ] = None,
    hour: Annotated[
        bool, typer.Option("--hour", help="Also use an hour's calls of one kind up, to see whether refused ones count.")
    ] = False,
    out: Annotated[Path, typer.Option(help="The folder for report, settings and logs.")] = Path("build/probe"),
    simulator: Annotated[bool, typer.Option("--simulator", help="Measure the built-in simulator.")] = False,
    dialect: Annotated[DialectChoice, typer.Option(help="Deriv's API: auto goes by the app id.")] = DialectChoice.AUTO,
    speed: Annotated[float, typer.Option(min=0.1, max=1000, help="Fleet seconds a second; simulator only.")] = 1,
    simulator_settings: Annotated[
        Path | None, typer.Option(help="YAML with settings for the simulator, such as the kind of window.")
    ] = None,
    run_dir: Annotated[Path, typer.Option(help="Where a fleet of yours may be running.")] = DEFAULT_RUN_DIR,
    ports: Annotated[
        int, typer.Option(min=1024, max=MOST_BASE_PORT, help="First port, as for `up`: simulator +200.")
    ] = BASE_PORT,
) -> None:
    """Measure what Deriv does not publish: kind of window, whose calls count, caps, clock, latencies.

    On a demo account only, with a few hundred calls in a few minutes; it buys nothing. Stop the fleet first, for its
    calls count on the same account. What it finds is for `limits` in the fleet file.

    For example:

      derivfleet probe --simulator --speed 10 --yes      try it out

      export DERIV_TOKEN=... DERIV_APP_ID=...
      derivfleet probe fleet.yaml                        your own demo account; it asks before it begins

    Exit code 0: done. 1: something was not found out. 2: something must be configured. 3: not a demo account.
    """
    fleet = load_fleet(fleet_file)
    in_file = fleet.accounts[0].dialect
    if simulator:
        spoken = dialect_of(dialect, in_file, None)
        credential = credential_for(spoken)
    else:
        credential = credential_for(None)
        spoken = dialect_of(dialect, in_file, credential.app_id)
        if speed != 1:
            raise ConfigurationError("--speed", "must be 1 without --simulator: Deriv does not run faster")
    if simulator_settings is not None and not (simulator and simulator_settings.is_file()):
        problem = "needs --simulator" if not simulator else f"{simulator_settings} is not a file"
        raise ConfigurationError("--simulator-settings", problem)
    chosen = Ports.from_base(ports)
    if simulator:
        check_free([("simulator", chosen.simulator)])
    clock = FleetClock()
    plan = Plan(
        run_dir=RunDir(out.resolve()),
        ports=chosen,
        credential=credential,
        simulated=Simulated("1", simulator_settings and simulator_settings.resolve()) if simulator else None,
        speed=speed,
        origin_ns=clock.now_ns(),
    )
    account = fleet.accounts[0]
    experiments = [str(one) for one in only or ExperimentChoice] + (["hour"] if hour else [])
    told = {
        "ACCOUNT": account.key,
        "DIALECT": spoken.value,
        "LOGIN_ID": "" if simulator else account.login_id,
        "EXPERIMENTS": ",".join(experiments),
        "OUT": str(plan.run_dir.path),
    }
    try:
        asyncio.run(_Probing(plan, fleet, told, clock, open_console()).run(RunDir(run_dir), yes=yes))
    except KeyboardInterrupt:
        raise CommandError("interrupted before it began") from None


class _Probing:
    """The command at work."""

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
                await Launch(self._plan, self._fleet, supervisor, self._clock, self._say).start_simulator()
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
        course = Course(plan["usual_s"], self._plan.speed, self._clock, self._console)
        reports: list[dict[str, Any]] = []

        def hear(event: dict[str, Any]) -> None:
            course.hear(event)
            if event["event"] == "report":
                reports.append(event)

        showing = asyncio.create_task(course.show()) if self._console.is_terminal else None
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

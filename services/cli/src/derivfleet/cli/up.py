"""``derivfleet up``: a fleet as local processes."""

from __future__ import annotations

import asyncio
import os
import secrets
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import yaml

from derivfleet.cli.complaints import EXIT_FAILED, CommandError
from derivfleet.cli.course import Course
from derivfleet.cli.environments import CREDENTIALS, Credential, Plan, Simulated
from derivfleet.cli.ports import BASE_PORT, MOST_BASE_PORT, Ports, check_free
from derivfleet.cli.rundir import DEFAULT_RUN_DIR, RunDir
from derivfleet.cli.view import open_console
from derivfleet.common.clock import FleetClock
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.fleet import Fleet, load_fleet
from derivfleet.common.redaction import hide
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.vocabulary import Dialect

__all__ = ["DialectChoice", "credential_for", "dialect_of", "up", "write_fleet"]


class DialectChoice(StrEnum):
    """What ``--dialect`` takes."""

    OPTIONS = "options"
    LEGACY = "legacy"
    AUTO = "auto"


def dialect_of(choice: DialectChoice, in_file: str, app_id: str | None) -> Dialect:
    """Which dialect a run speaks: the option, else the fleet file, else the kind of app id; options if nothing tells.

    Raises ConfigurationError if option and file disagree.
    """
    if choice is not DialectChoice.AUTO:
        if in_file not in ("auto", choice.value):
            raise ConfigurationError("--dialect", f"{choice.value} is asked for, but the fleet file says {in_file}")
        return Dialect(choice.value)
    if in_file != "auto":
        return Dialect(in_file)
    return Dialect.LEGACY if app_id is not None and app_id.isdigit() else Dialect.OPTIONS


def credential_for(dialect: Dialect | None) -> Credential:
    """For a dialect of the simulator a made-up credential; for None the one in the environment.

    The simulator's app id has the shape that each dialect's real ones have: digits for legacy, a word for options.
    Raises ConfigurationError naming the variable that is missing.
    """
    if dialect is not None:
        return Credential(
            f"simulated-{secrets.token_hex(12)}", "10001" if dialect is Dialect.LEGACY else "simulatedapp"
        )
    for name in CREDENTIALS:
        if not os.environ.get(name, "").strip():
            raise ConfigurationError(name, f"is not set: export {' and '.join(CREDENTIALS)}, or add --simulator")
    token, app_id = (os.environ[name].strip() for name in CREDENTIALS)
    hide(token)
    return Credential(token, app_id)


def write_fleet(fleet: Fleet, dialect: Dialect, run_dir: RunDir) -> Fleet:
    """Keep the fleet as it runs: a later edit of the file must not reach a bot that is merely restarted."""
    accounts = tuple(account.model_copy(update={"dialect": dialect.value}) for account in fleet.accounts)
    settled = fleet.model_copy(update={"accounts": accounts})
    with run_dir.writing():
        run_dir.fleet_file.write_text(yaml.safe_dump(settled.model_dump(mode="json"), sort_keys=False))
    return settled


def up(
    fleet_file: Annotated[Path, typer.Argument(metavar="FLEET", help="The fleet file.")] = Path("fleet.yaml"),
    simulator: Annotated[bool, typer.Option("--simulator", help="Trade on the built-in simulator.")] = False,
    dialect: Annotated[DialectChoice, typer.Option(help="Deriv's API: auto goes by the app id.")] = DialectChoice.AUTO,
    duration: Annotated[
        float, typer.Option(min=0, help="Seconds to trade, by the wall clock; 0 trades until Ctrl-C.")
    ] = 0,
    speed: Annotated[float, typer.Option(min=0.1, max=1000, help="Fleet seconds a second; simulator only.")] = 1,
    run_dir: Annotated[Path, typer.Option(help="Where logs, tokens, records and the summary go.")] = DEFAULT_RUN_DIR,
    seed: Annotated[str, typer.Option(help="The simulator's market: the same seed gives the same prices.")] = "1",
    simulator_settings: Annotated[
        Path | None, typer.Option(help="YAML with settings for the simulator, such as limits and faults.")
    ] = None,
    ports: Annotated[
        int,
        typer.Option(min=1024, max=MOST_BASE_PORT, help="First port: metrics; page +80, gateway +100, simulator +200."),
    ] = BASE_PORT,
) -> None:
    """Run a fleet: simulator (if asked for), metrics, gateway and every bot, until Ctrl-C.

    For example:

      derivfleet up --simulator                        ten bots on made-up markets, no account needed

      derivfleet up --simulator --duration 60 --speed 10

      export DERIV_TOKEN=... DERIV_APP_ID=...
      derivfleet up fleet.yaml                         your own demo account

    Exit code 0: all ran to the end and the ledger matches. 1: something did not. 2: something must be configured.
    """
    fleet = load_fleet(fleet_file, frozenset(SYMBOLS) if simulator else None)
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
    check_free(chosen.needed(simulated=simulator))
    folder = RunDir(run_dir.resolve())
    folder.prepare(simulated=simulator)
    fleet = write_fleet(fleet, spoken, folder)
    clock = FleetClock()
    plan = Plan(
        run_dir=folder,
        ports=chosen,
        credential=credential,
        simulated=Simulated(seed, simulator_settings and simulator_settings.resolve()) if simulator else None,
        speed=speed,
        origin_ns=clock.now_ns(),
    )

    async def go() -> int:
        summary = await Course(plan, fleet, duration, clock, open_console()).run()
        if summary.problems:
            raise CommandError("; ".join(summary.problems))
        return summary.exit_code

    code = asyncio.run(go())
    if code:
        raise typer.Exit(EXIT_FAILED)

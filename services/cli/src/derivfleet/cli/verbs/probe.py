"""``derivfleet probe``: measure on a demo account what Deriv does not publish about its limits."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from derivfleet.cli.options import DEFAULT_RUN_DIR, DialectChoice, DialectOption, SpeedOption
from derivfleet.cli.run.ports import BASE_PORT, MOST_BASE_PORT

__all__ = ["ExperimentChoice", "probe"]


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
    dialect: DialectOption = DialectChoice.AUTO,
    speed: SpeedOption = 1,
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
    import asyncio

    from derivfleet.cli.errors import CommandError
    from derivfleet.cli.probe.session import ProbeSession
    from derivfleet.cli.run.plan import plan_of
    from derivfleet.cli.run.ports import check_free
    from derivfleet.cli.run.run_dir import RunDir
    from derivfleet.cli.screens.console import open_console
    from derivfleet.common.clock import FleetClock
    from derivfleet.common.fleet import load_fleet

    fleet = load_fleet(fleet_file)
    account = fleet.accounts[0]
    clock = FleetClock()
    plan, spoken = plan_of(
        account,
        out,
        clock.now_ns(),
        simulator=simulator,
        dialect=dialect,
        speed=speed,
        simulator_settings=simulator_settings,
        base_port=ports,
    )
    if simulator:
        check_free([("simulator", plan.ports.simulator)])
    experiments = [str(one) for one in only or ExperimentChoice] + (["hour"] if hour else [])
    told = {
        "ACCOUNT": account.key,
        "DIALECT": spoken.value,
        "LOGIN_ID": "" if simulator else account.login_id,
        "EXPERIMENTS": ",".join(experiments),
        "OUT": str(plan.run_dir.path),
    }
    try:
        asyncio.run(ProbeSession(plan, fleet, told, clock, open_console()).run(RunDir(run_dir), yes=yes))
    except KeyboardInterrupt:
        raise CommandError("interrupted before it began") from None

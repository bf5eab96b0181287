"""``derivfleet up``: a fleet as local processes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from derivfleet.cli.options import DEFAULT_RUN_DIR, DialectChoice, DialectOption, SpeedOption
from derivfleet.cli.run.ports import BASE_PORT, MOST_BASE_PORT

__all__ = ["up"]


def up(
    fleet_file: Annotated[Path, typer.Argument(metavar="FLEET", help="The fleet file.")] = Path("fleet.yaml"),
    simulator: Annotated[bool, typer.Option("--simulator", help="Trade on the built-in simulator.")] = False,
    dialect: DialectOption = DialectChoice.AUTO,
    duration: Annotated[
        float, typer.Option(min=0, help="Seconds to trade, by the wall clock; 0 trades until Ctrl-C.")
    ] = 0,
    speed: SpeedOption = 1,
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
    import asyncio

    from derivfleet.cli.errors import EXIT_FAILED, CommandError
    from derivfleet.cli.run.loop import RunLoop
    from derivfleet.cli.run.plan import plan_of
    from derivfleet.cli.run.ports import check_free
    from derivfleet.cli.screens.console import open_console
    from derivfleet.common.clock import FleetClock
    from derivfleet.common.fleet import load_fleet
    from derivfleet.deriv.symbols import SYMBOLS

    fleet = load_fleet(fleet_file, frozenset(SYMBOLS) if simulator else None)
    clock = FleetClock()
    plan, spoken = plan_of(
        fleet.accounts[0],
        run_dir,
        clock.now_ns(),
        simulator=simulator,
        dialect=dialect,
        speed=speed,
        simulator_settings=simulator_settings,
        base_port=ports,
        seed=seed,
    )
    check_free(plan.ports.needed(simulated=simulator))
    plan.run_dir.prepare(simulated=simulator)
    fleet = plan.run_dir.write_fleet(fleet, spoken)

    async def go() -> int:
        summary = await RunLoop(plan, fleet, duration, clock, open_console()).run()
        if summary.problems:
            raise CommandError("; ".join(summary.problems))
        return summary.exit_code

    code = asyncio.run(go())
    if code:
        raise typer.Exit(EXIT_FAILED)

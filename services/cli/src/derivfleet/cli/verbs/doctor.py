"""``derivfleet doctor``: what is wrong, and what to do about it, one line a result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from derivfleet.cli.options import DEFAULT_RUN_DIR, RunDirOption
from derivfleet.cli.run.ports import BASE_PORT, MOST_BASE_PORT

__all__ = ["doctor"]


def doctor(
    fleet_file: Annotated[Path, typer.Argument(metavar="FLEET", help="The fleet file.")] = Path("fleet.yaml"),
    simulator: Annotated[
        bool, typer.Option("--simulator", help="Check for trading on the simulator: no credential, no Deriv.")
    ] = False,
    run_dir: RunDirOption = DEFAULT_RUN_DIR,
    ports: Annotated[
        int, typer.Option(min=1024, max=MOST_BASE_PORT, help="First port that `up` would use.")
    ] = BASE_PORT,
) -> None:
    """Check the fleet file, credentials, clock, Deriv and the running services; say what to do.

    For example:

      derivfleet doctor                  before the first start on your own account

      derivfleet doctor --simulator      before trading on the simulator

    Exit code 0: all well. 1: something is wrong. 2: something must be configured.
    """
    import asyncio

    from derivfleet.cli.checks.all_checks import all_checks
    from derivfleet.cli.checks.result import CheckResult, exit_code_of
    from derivfleet.cli.run.ports import Ports
    from derivfleet.cli.run.run_dir import RunDir

    results: list[CheckResult] = []

    async def examine() -> None:
        async for result in all_checks(fleet_file, RunDir(run_dir), Ports.from_base(ports), simulator=simulator):
            typer.echo(result.line)
            results.append(result)

    asyncio.run(examine())
    if code := exit_code_of(results):
        raise typer.Exit(code)

"""What ``derivfleet doctor`` checks, in its order."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from derivfleet.cli.checks.configuration import check_credential, check_ports
from derivfleet.cli.checks.result import CheckResult, Mark
from derivfleet.cli.checks.services import PUBLIC_PATH, check_deriv, check_gateway, check_metrics, deriv_url
from derivfleet.cli.errors import CommandError
from derivfleet.common.clock import FleetClock
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.fleet import Fleet, load_fleet
from derivfleet.deriv.symbols import SYMBOLS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from derivfleet.cli.run.ports import Ports
    from derivfleet.cli.run.run_dir import RunDir, RunFile

__all__ = ["all_checks"]


async def all_checks(fleet_file: Path, folder: RunDir, ports: Ports, *, simulator: bool) -> AsyncIterator[CheckResult]:
    """Every check that makes sense here, one after the other. If a fleet runs in the folder, it is checked too."""
    run = _run_in(folder)
    simulator = simulator or (run is not None and run.simulated)
    fleet: Fleet | None = None
    try:
        fleet = load_fleet(fleet_file, frozenset(SYMBOLS) if simulator else None)
        yield CheckResult(Mark.GOOD, f"{fleet_file}: {len(fleet.bots)} bots on account {fleet.accounts[0].key}")
    except ConfigurationError as error:
        yield CheckResult(Mark.BAD, str(error), is_configuration=True)
    dialect = "auto" if fleet is None else fleet.accounts[0].dialect
    if simulator:
        yield CheckResult(Mark.NOTE, "the simulator needs no credential")
    else:
        for result in check_credential(os.environ, dialect):
            yield result
    if run is None:
        yield check_ports(ports, simulator=simulator)
        yield CheckResult(Mark.NOTE, f"no fleet runs in {folder.path}", "`derivfleet up` starts one")
    if not simulator:
        yield await check_deriv("Deriv", deriv_url(dialect, os.environ.get("DERIV_APP_ID", "")), FleetClock())
    if run is not None:
        if run.simulator:
            yield await check_deriv("the simulator", f"ws://{run.simulator}{PUBLIC_PATH}", run.clock)
        for result in (*await check_gateway(run, folder), await check_metrics(run, folder)):
            yield result


def _run_in(folder: RunDir) -> RunFile | None:
    try:
        return folder.running()
    except CommandError:
        return None

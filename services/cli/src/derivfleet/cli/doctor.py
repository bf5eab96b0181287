"""``derivfleet doctor``: what is wrong, and what to do about it, one line a finding."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import aiohttp
import typer

from derivfleet.cli.client import OPERATOR, ControlClient, ReportsClient
from derivfleet.cli.complaints import CommandError
from derivfleet.cli.findings import Finding, Verdict, clock_finding, credential_findings, exit_code_of
from derivfleet.cli.ports import BASE_PORT, MOST_BASE_PORT, Ports, check_free
from derivfleet.cli.rundir import DEFAULT_RUN_DIR, RunDir
from derivfleet.common.clock import FleetClock
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.fleet import Fleet, load_fleet
from derivfleet.deriv.symbols import SYMBOLS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from derivfleet.cli.rundir import RunFile
    from derivfleet.common.clock import Clock

__all__ = ["deriv_finding", "doctor"]

DERIV_URL = "wss://api.derivws.com"
LEGACY_URL = "wss://ws.derivws.com"
ANSWER_WALL_S = 8.0
_PUBLIC_PATH = "/trading/v1/options/ws/public"
_LEGACY_PATH = "/websockets/v3"


def doctor(
    fleet_file: Annotated[Path, typer.Argument(metavar="FLEET", help="The fleet file.")] = Path("fleet.yaml"),
    simulator: Annotated[
        bool, typer.Option("--simulator", help="Check for trading on the simulator: no credential, no Deriv.")
    ] = False,
    run_dir: Annotated[Path, typer.Option(help="The folder of the run.")] = DEFAULT_RUN_DIR,
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
    findings: list[Finding] = []

    async def examine() -> None:
        async for finding in _examine(fleet_file, simulator, RunDir(run_dir), Ports.from_base(ports)):
            typer.echo(finding.line)
            findings.append(finding)

    asyncio.run(examine())
    if code := exit_code_of(findings):
        raise typer.Exit(code)


async def _examine(fleet_file: Path, simulator: bool, folder: RunDir, ports: Ports) -> AsyncIterator[Finding]:
    run = _run_in(folder)
    simulator = simulator or (run is not None and run.simulated)
    fleet: Fleet | None = None
    try:
        fleet = load_fleet(fleet_file, frozenset(SYMBOLS) if simulator else None)
        yield Finding(Verdict.GOOD, f"{fleet_file}: {len(fleet.bots)} bots on account {fleet.accounts[0].key}")
    except ConfigurationError as error:
        yield Finding(Verdict.BAD, str(error), is_configuration=True)
    dialect = "auto" if fleet is None else fleet.accounts[0].dialect
    if simulator:
        yield Finding(Verdict.NOTE, "the simulator needs no credential")
    else:
        for finding in credential_findings(os.environ, dialect):
            yield finding
    if run is None:
        yield _ports_finding(ports, simulator=simulator)
        yield Finding(Verdict.NOTE, f"no fleet runs in {folder.path}", "`derivfleet up` starts one")
    if not simulator:
        yield await deriv_finding("Deriv", _deriv_url(dialect), FleetClock())
    if run is not None:
        if run.simulator:
            yield await deriv_finding("the simulator", f"ws://{run.simulator}{_PUBLIC_PATH}", run.clock)
        for finding in (*await _gateway_findings(run, folder), await _metrics_finding(run, folder)):
            yield finding


def _run_in(folder: RunDir) -> RunFile | None:
    try:
        return folder.running()
    except CommandError:
        return None


def _deriv_url(dialect: str) -> str:
    app_id = os.environ.get("DERIV_APP_ID", "")
    if dialect == "legacy" or (dialect == "auto" and app_id.isdigit()):
        return f"{LEGACY_URL}{_LEGACY_PATH}?app_id={app_id}&l=EN"
    return f"{DERIV_URL}{_PUBLIC_PATH}"


def _ports_finding(ports: Ports, *, simulator: bool) -> Finding:
    try:
        check_free(ports.needed(simulated=simulator))
    except ConfigurationError as error:
        return Finding(Verdict.BAD, str(error), is_configuration=True)
    return Finding(Verdict.GOOD, f"the ports are free ({ports.metrics} and following)")


async def deriv_finding(whose: str, url: str, clock: Clock) -> Finding:
    """Whether Deriv (or the simulator) answers, and whether the clocks agree; asked with ``time``, without a login."""
    timeout = aiohttp.ClientTimeout(total=ANSWER_WALL_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.ws_connect(url) as socket:
            asked_s = clock.now_s()
            await socket.send_json({"time": 1, "req_id": 1})
            answer = await socket.receive_json(timeout=ANSWER_WALL_S)
            answered_s = clock.now_s()
        their_epoch_s = int(answer["time"])
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        problem = " ".join(str(error).split()) or "no answer in time"
        return Finding(Verdict.BAD, f"{whose} cannot be reached ({problem})", "check the network, proxy and firewall")
    except (KeyError, TypeError, ValueError):
        return Finding(Verdict.BAD, f"{whose} answers something else than its time", "is the address right?")
    return clock_finding(whose, their_epoch_s, asked_s, answered_s, clock.speed)


async def _gateway_findings(run: RunFile, folder: RunDir) -> list[Finding]:
    try:
        async with ControlClient(run.gateway, folder.token(OPERATOR)) as client:
            status = await client.status()
    except (CommandError, ConfigurationError) as error:
        return [Finding(Verdict.BAD, str(error), f"look into {folder.log('gateway')}")]
    findings = [Finding(Verdict.GOOD, f"the gateway answers at {run.gateway}")]
    for account in status.accounts:
        for one in account.connections:
            where = f"its {one.role} connection of {account.account} is {one.state}"
            if one.state == "ready":
                findings.append(Finding(Verdict.GOOD, f"{where} ({one.ping_ms:.0f} ms)"))
            else:
                findings.append(Finding(Verdict.BAD, where, one.problem or f"look into {folder.log('gateway')}"))
        if account.rejected_by_deriv:
            what = f"Deriv refused {account.rejected_by_deriv} calls of {account.account} for rate"
            todo = "lower accounts.limits.headroom, or end what else uses this app id"
            findings.append(Finding(Verdict.BAD, what, todo))
        if account.foreign_trades:
            what = f"{account.foreign_trades} trades on {account.account} are not the fleet's"
            findings.append(Finding(Verdict.BAD, what, "let nothing else trade this account"))
        if doubtful := sum(bot.doubtful for bot in account.bots):
            what = f"{doubtful} orders on {account.account} whose fate the records leave open"
            findings.append(Finding(Verdict.BAD, what, "see derivfleet orders --unknown, then orders resolve"))
    return findings


async def _metrics_finding(run: RunFile, folder: RunDir) -> Finding:
    try:
        async with ReportsClient(run.metrics, folder.token(OPERATOR)) as client:
            report = await client.report()
    except (CommandError, ConfigurationError) as error:
        return Finding(Verdict.BAD, str(error), f"look into {folder.log('metrics')}")
    seen = report.completeness
    if not seen.feed_connected:
        what = "the metrics service has lost the gateway's order feed"
        return Finding(Verdict.BAD, what, f"look into {folder.log('metrics')}")
    return Finding(Verdict.GOOD, f"the metrics service answers at {run.metrics}, {seen.feed_lag_s:.1f} s behind")

"""``derivfleet status``: how the fleet is, once."""

from __future__ import annotations

import asyncio
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from google.protobuf.json_format import MessageToJson
from rich.table import Table

from derivfleet.cli.client import OPERATOR, ControlClient
from derivfleet.cli.rundir import DEFAULT_RUN_DIR, RunDir
from derivfleet.cli.view import money, open_console, quota_bars
from derivfleet.cli.watch import decimal_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from derivfleet.v1 import control_pb2

__all__ = ["status"]

NS_PER_S = 1_000_000_000


def status(
    run_dir: Annotated[Path, typer.Option(help="The folder of the run.")] = DEFAULT_RUN_DIR,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Show connections, quota and bots of the running fleet.

    For example:

      derivfleet status

      derivfleet status --json | jq '.accounts[0].bots[] | select(.unknown != "0")'
    """
    folder = RunDir(run_dir)
    run = folder.running()

    async def ask() -> control_pb2.GetStatusResponse:
        async with ControlClient(run.gateway, folder.token(OPERATOR)) as client:
            return await client.status()

    answer = asyncio.run(ask())
    if json:
        typer.echo(MessageToJson(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True))
        return
    console = open_console()
    for part in screen_of(answer):
        console.print(part)
    console.print(f"page: http://{run.web}", highlight=False)


def screen_of(answer: control_pb2.GetStatusResponse) -> Iterable[RenderableType]:
    """A status for people."""
    for account in answer.accounts:
        kind = "demo" if account.is_demo else "real"
        yield (
            f"{account.account}: {account.login_id or 'not logged in'} ({kind}, {account.dialect}), "
            f"balance {account.balance or '?'} {account.currency}, {account.calls_sent} calls sent, "
            f"{account.rejected_by_deriv} refused for rate, {account.foreign_trades} foreign trades"
        )
        connections = Table(show_edge=False, pad_edge=False)
        for name in ("connection", "state", "for", "ping", "reconnects", "problem"):
            connections.add_column(name)
        for one in account.connections:
            since_s = max(0.0, (answer.time_ns - one.since_time_ns) / NS_PER_S)
            ping = f"{one.ping_ms:.0f} ms" if one.ping_ms else "-"
            connections.add_row(one.role, one.state, f"{since_s:.0f} s", ping, str(one.reconnects), one.problem)
        yield connections
        yield quota_bars(account.windows)
        bots = Table(show_edge=False, pad_edge=False)
        bots.add_column("bot")
        for name in ("calls", "buys", "open", "unknown", "settled", "wins", "errors", "profit", "last seen"):
            bots.add_column(name, justify="right")
        for bot in account.bots:
            numbers = (bot.ops, bot.buys, bot.open, bot.unknown, bot.settled, bot.wins, bot.errors)
            age_s = (answer.time_ns - bot.last_seen_time_ns) / NS_PER_S
            last = f"{age_s:.0f} s" if bot.last_seen_time_ns else "never"
            bots.add_row(bot.bot, *map(str, numbers), money(decimal_of(bot.profit)), last)
        yield bots

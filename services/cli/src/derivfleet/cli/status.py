"""``derivfleet status``: how the fleet is, once."""

from __future__ import annotations

import asyncio
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from google.protobuf.json_format import MessageToJson
from rich.table import Table
from rich.text import Text

from derivfleet.cli.client import OPERATOR, ControlClient
from derivfleet.cli.gauges import quota_bars, quota_line, troubled_breaker
from derivfleet.cli.rundir import DEFAULT_RUN_DIR, RunDir
from derivfleet.cli.view import amount, money, open_console
from derivfleet.cli.watch import decimal_of
from derivfleet.common.clock import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from derivfleet.v1 import control_pb2

__all__ = ["status"]


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
    if answer.journal.problem:
        waiting = f"; {answer.journal.unwritten} transitions wait for it" if answer.journal.unwritten else ""
        yield Text(f"no orders are opened: {answer.journal.problem}{waiting}", style="red")
    for account in answer.accounts:
        kind = "demo" if account.is_demo else "real"
        yield (
            f"{account.account}: {account.login_id or 'not logged in'} ({kind}, {account.dialect}), "
            f"balance {amount(account.balance)} {account.currency}"
        )
        yield (
            f"{account.calls_sent} calls sent, {account.rejected_by_deriv} refused by Deriv for rate, "
            f"{account.foreign_trades} trades that are not the fleet's"
        )
        connections = Table(show_edge=False, pad_edge=False)
        for name in ("connection", "state", "for", "ping", "reconnects", "problem"):
            connections.add_column(name)
        for one in account.connections:
            since_s = max(0.0, (answer.time_ns - one.since_time_ns) / NS_PER_S)
            ping = f"{one.ping_ms:.0f} ms" if one.ping_ms else "-"
            connections.add_row(one.role, one.state, f"{since_s:.0f} s", ping, str(one.reconnects), one.problem)
        yield connections
        if breaker := troubled_breaker(account, answer.time_ns):
            yield Text(breaker, style="yellow")
        yield quota_bars(account.windows)
        if loans := quota_line(account):
            yield loans
        bots = Table(show_edge=False, pad_edge=False)
        bots.add_column("bot", overflow="fold")
        # What is not known is rare, and it is what one looks for.
        rare = ("unknown",) if any(bot.unknown for bot in account.bots) else ()
        counts = ("buys", "open", *rare, "settled", "wins")
        for name in ("calls", *counts, "refused", "profit", "seen"):
            bots.add_column(name, justify="right")
        for bot in account.bots:
            age_s = (answer.time_ns - bot.last_seen_time_ns) / NS_PER_S
            seen = f"{age_s:.0f} s" if bot.last_seen_time_ns else "never"
            numbers = [str(value) for value in (bot.ops, *(getattr(bot, name) for name in counts), bot.errors)]
            bots.add_row(bot.bot, *numbers, money(decimal_of(bot.profit)), seen)
        yield bots

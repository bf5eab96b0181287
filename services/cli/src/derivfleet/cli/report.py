"""``derivfleet report``: five minutes, or any other period, summed up by the metrics service."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from google.protobuf.json_format import MessageToJson
from rich.table import Table

from derivfleet.cli.client import OPERATOR, ReportsClient
from derivfleet.cli.rundir import DEFAULT_RUN_DIR, RunDir
from derivfleet.cli.view import money, open_console
from derivfleet.cli.watch import decimal_of
from derivfleet.common.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from derivfleet.v1 import reports_pb2

__all__ = ["epoch_of", "period_of", "report"]

PHASES = ("decide", "queue", "upstream", "buy", "settle")
"""Where the time goes, as the contract names it."""
_MOST_S = 86_400
"""The metrics service reads every row of a period, so it sets an end to its length."""
_PLAIN_MS = 10
"""From here on, tenths of a millisecond tell nothing."""
_PERIOD = re.compile(r"(\d+)([smhd]?)")
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def epoch_of(text: str) -> int:
    """A time as epoch seconds: digits, or ISO 8601 (UTC unless it says otherwise); 0 for an empty text.

    Raises ConfigurationError.
    """
    if not text or text.isdigit():
        return int(text or 0)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError("--at", f"must be like 2026-11-21T09:35 or epoch seconds, not {text!r}") from None
    return int((time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp())


def period_of(text: str) -> int:
    """A length of time in seconds: 300, 300s, 5m, 1h, 1d; 0 for an empty text. Raises ConfigurationError."""
    if not text:
        return 0
    match = _PERIOD.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise ConfigurationError("--period", f"must be like 5m, 1h, 1d or 300, not {text!r}")
    seconds = int(match[1]) * _UNITS_S[match[2]]
    if seconds > _MOST_S:
        raise ConfigurationError("--period", f"must be at most a day, not {text!r}")
    return seconds


def report(
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    at: Annotated[str, typer.Option(help="A time in the period: 2026-11-21T09:35 (UTC) or epoch seconds.")] = "",
    period: Annotated[str, typer.Option(help="Length of the period: 5m, 1h, 1d.")] = "",
    run_dir: Annotated[Path, typer.Option(help="The folder of the run.")] = DEFAULT_RUN_DIR,
) -> None:
    """Print the report of the running five minutes, or of another period.

    For example:

      derivfleet report

      derivfleet report --period 1h --at 2026-11-21T09:35

      derivfleet report --json | jq '.fleet.win_rate'
    """
    at_epoch_s, period_s = epoch_of(at), period_of(period)
    folder = RunDir(run_dir)
    run = folder.running()
    if at_epoch_s > (now_s := run.clock.now_s()):
        now = datetime.fromtimestamp(now_s, UTC)
        raise ConfigurationError("--at", f"must not be in the future; the fleet's clock says {now:%Y-%m-%dT%H:%M:%S}")

    async def ask() -> reports_pb2.Report:
        async with ReportsClient(run.metrics, folder.token(OPERATOR)) as client:
            return await client.report(at_epoch_s, period_s)

    answer = asyncio.run(ask())
    if json:
        typer.echo(MessageToJson(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True))
        return
    console = open_console()
    for part in screen_of(answer):
        console.print(part, highlight=False)


def screen_of(answer: reports_pb2.Report) -> Iterable[RenderableType]:
    """A report for people."""
    start, end, filled = (
        datetime.fromtimestamp(epoch_s, UTC)
        for epoch_s in (answer.start_epoch_s, answer.end_epoch_s, answer.filled_to_epoch_s)
    )
    to = "" if answer.filled_to_epoch_s >= answer.end_epoch_s else f", filled to {filled:%H:%M:%S}"
    yield f"{answer.account}: {start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC{to}"
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("bot", overflow="fold")
    for name in ("calls", "buys", "settled", "wins", "win rate", "staked", "profit"):
        table.add_column(name, justify="right")
    table.add_column("errors")
    for bot in answer.bots:
        table.add_row(bot.bot, *_cells(bot))
    table.add_section()
    table.add_row("fleet", *_cells(answer.fleet), style="bold")
    yield table
    yield ""
    times = Table(show_edge=False, pad_edge=False)
    times.add_column("p50/p95/p99 ms", overflow="fold")
    for phase in PHASES:
        times.add_column(phase, justify="right")
    for bot in (*answer.bots, answer.fleet):
        found = {one.phase: "/".join(map(_ms, (one.p50_ms, one.p95_ms, one.p99_ms))) for one in bot.phases if one.count}
        if found:
            times.add_row(bot.bot or "fleet", *(found.get(phase, "-") for phase in PHASES))
    yield times
    uses = ", ".join(f"{use.bucket} {use.calls} calls ({use.share_of_limit:.1%})" for use in answer.quota)
    yield f"share of Deriv's limits: {uses or 'none used'}; refused by Deriv for rate: {answer.rejected_by_deriv}"
    seen = answer.completeness
    state = "connected" if seen.feed_connected else "NOT CONNECTED"
    yield (
        f"seen: {seen.orders_in_feed} settled orders, {seen.orders_traced} of them traced, profit of the others "
        f"{seen.profit_untraced or '0'}; {seen.traces_without_order} traces without order; "
        f"order feed {state}, {seen.feed_lag_s:.1f} s behind"
    )


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= _PLAIN_MS or not value else f"{value:.1f}"


def _cells(bot: reports_pb2.BotReport) -> list[RenderableType]:
    counts = [str(value) for value in (bot.ops, bot.buys, bot.settled, bot.wins)]
    errors = ", ".join(f"{error.code} {error.count}" for error in bot.errors)
    return [*counts, f"{bot.win_rate:.0%}", f"{decimal_of(bot.staked):.2f}", money(decimal_of(bot.profit)), errors]

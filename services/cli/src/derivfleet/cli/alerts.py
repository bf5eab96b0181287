"""``derivfleet alerts``: what is wrong, what was, and who asked not to be told."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from google.protobuf.json_format import MessageToJson
from rich.table import Table

from derivfleet.cli.client import OPERATOR, WatchingClient
from derivfleet.cli.rundir import DEFAULT_RUN_DIR, RunDir
from derivfleet.cli.view import open_console
from derivfleet.common.clock import NS_PER_S
from derivfleet.common.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from typing import TypeVar

    from rich.console import RenderableType

    from derivfleet.v1 import watching_pb2

    T = TypeVar("T")

__all__ = ["alerts_app", "seconds_of"]

_LENGTH = re.compile(r"([1-9]\d{0,5})([smhd])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MOST_S = 30 * 86_400

alerts_app = typer.Typer(invoke_without_command=True, help="Show alerts, or silence them for a while.")

RunDirOption = Annotated[Path, typer.Option(help="The folder of the run.")]
BotOption = Annotated[str, typer.Option("--bot", help="Only this bot's; without it, of every bot.")]


def seconds_of(text: str) -> int:
    """A length of time, as 90s, 30m, 2h or 7d, in seconds. Raises ConfigurationError."""
    match = _LENGTH.fullmatch(text)
    seconds = int(match[1]) * _UNITS_S[match[2]] if match else 0
    if not 0 < seconds <= _MOST_S:
        raise ConfigurationError("--for", f"must be like 30m, 2h or 7d, at most 30d, not {text!r}")
    return seconds


def _ask(run_dir: Path, question: Callable[[WatchingClient], Awaitable[T]]) -> T:
    folder = RunDir(run_dir)
    run = folder.running()

    async def ask() -> T:
        async with WatchingClient(run.metrics, folder.token(OPERATOR)) as client:
            return await question(client)

    return asyncio.run(ask())


@alerts_app.callback()
def alerts(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    run_dir: RunDirOption = DEFAULT_RUN_DIR,
) -> None:
    """Show the alerts that fire, then those that are over; and the silences.

    The rules are in the fleet file, under `alerts`.

    For example:

      derivfleet alerts

      derivfleet alerts --json | jq '.alerts[] | select(.cleared_time_ns == "0") | .rule'

      derivfleet alerts silence bot-down --bot over-4 --for 2h --reason "moving it"

      derivfleet alerts unsilence bot-down --bot over-4
    """
    if context.invoked_subcommand is not None:
        return
    answer = _ask(run_dir, lambda client: client.alerts(limit))
    if json:
        typer.echo(MessageToJson(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True))
        return
    console = open_console()
    for part in screen_of(answer):
        console.print(part, highlight=False)


@alerts_app.command()
def silence(
    rule: Annotated[str, typer.Argument(help="A rule's name; without it, every rule.")] = "",
    bot: BotOption = "",
    length: Annotated[str, typer.Option("--for", help="For how long: 30m, 2h, 7d.")] = "1h",
    reason: Annotated[str, typer.Option(help="Why, for whoever looks.")] = "",
    run_dir: RunDirOption = DEFAULT_RUN_DIR,
) -> None:
    """Tell nothing of a rule and a bot for a while. What still fires when it ends is told then.

    For example:

      derivfleet alerts silence bot-down --bot over-4 --for 2h --reason "moving it"
    """
    seconds = seconds_of(length)
    kept = _ask(run_dir, lambda client: client.silence(rule, bot, seconds, reason))
    typer.echo(f"silent until {_time(kept.until_time_ns)} UTC: {_whom(kept.rule, kept.bot)}")


@alerts_app.command()
def unsilence(
    rule: Annotated[str, typer.Argument(help="As it was silenced.")] = "",
    bot: BotOption = "",
    run_dir: RunDirOption = DEFAULT_RUN_DIR,
) -> None:
    """End the silences of exactly this rule and bot.

    For example:

      derivfleet alerts unsilence bot-down --bot over-4
    """
    ended = _ask(run_dir, lambda client: client.unsilence(rule, bot))
    typer.echo(f"{ended} ended: {_whom(rule, bot)}" if ended else f"nothing was silenced: {_whom(rule, bot)}")


def screen_of(answer: watching_pb2.ListAlertsResponse) -> Iterable[RenderableType]:
    """Alerts for people."""
    if not answer.rules:
        yield "nothing is watched: the fleet file has no rules under `alerts`"
        return
    told = ", ".join(answer.channels) or "nobody (no webhook or chat is configured)"
    waiting = f"; {answer.untold} notices wait" if answer.untold else ""
    yield f"{len(answer.rules)} rules, told to {told}{waiting}"
    if answer.alerts:
        table = Table(show_edge=False, pad_edge=False)
        for name in ("alert", "bot", "state", "since", "seen", "threshold"):
            table.add_column(name)
        for one in answer.alerts:
            since_ns = one.cleared_time_ns or one.fired_time_ns
            state = "over" if one.cleared_time_ns else "FIRING, silenced" if one.silenced else "FIRING"
            style = None if one.cleared_time_ns else "yellow"
            row = (one.rule, one.bot or "-", state, _time(since_ns), f"{one.value} {one.unit}", one.threshold)
            table.add_row(*row, style=style)
        yield table
    else:
        yield "no alert so far"
    for one in answer.silences:
        why = f": {one.reason}" if one.reason else ""
        yield f"silent until {_time(one.until_time_ns)} UTC: {_whom(one.rule, one.bot)}{why}"


def _whom(rule: str, bot: str) -> str:
    return f"{rule or 'every rule'} of {bot or 'every bot'}"


def _time(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns / NS_PER_S, UTC):%Y-%m-%d %H:%M:%S}"

"""``derivfleet quota``: Deriv's call limits, live: what is used, held back, lent, waited for and saved."""

from __future__ import annotations

import asyncio
import json as json_text
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict
from rich.console import Group
from rich.live import Live
from rich.text import Text

from derivfleet.cli.client import OPERATOR, ControlClient
from derivfleet.cli.complaints import NoAnswerError
from derivfleet.cli.quota_screen import screen_of
from derivfleet.cli.rundir import DEFAULT_RUN_DIR, RunDir
from derivfleet.cli.view import open_console
from derivfleet.common.clock import FleetClock
from derivfleet.common.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from google.protobuf.message import Message
    from rich.console import Console

    from derivfleet.cli.rundir import RunFile
    from derivfleet.v1 import control_pb2

    Tell = Callable[[control_pb2.GetStatusResponse, str], None]

__all__ = ["document_of", "quota"]

EVERY_WALL_S = 1.0
_AWAY = "the gateway does not answer; these are its last figures"
_ENDED = "the fleet has ended; these are its last figures"


def quota(
    bot: Annotated[str, typer.Option(help="Only this bot's shares, in every bucket.")] = "",
    once: Annotated[bool, typer.Option("--once", help="Print it once, also on a terminal.")] = False,
    watch: Annotated[
        float | None, typer.Option(min=0.1, help="Look again every so many seconds; 1 on a terminal.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs; with --watch, a line a look.")] = False,
    run_dir: Annotated[Path, typer.Option(help="The folder of the run.")] = DEFAULT_RUN_DIR,
) -> None:
    """Show how full Deriv's call limits are, and whose calls fill them: live on a terminal, once in a pipe.

    A bot that leaves part of its share idle lends it; whoever uses more than its share has borrowed.
    What is kept for exits and reconciling is free, but not for purchases.

    For example:

      derivfleet quota                               until Ctrl-C, or the end of the fleet

      derivfleet quota --bot over-4 --once

      derivfleet quota --json --watch 5 | jq -c '.accounts[0].shares[] | select(.borrowed > 0)'
    """
    if once and watch is not None:
        raise ConfigurationError("--watch", "does not go with --once")
    folder = RunDir(run_dir)
    run = folder.running()
    console = open_console()
    is_live = console.is_terminal and not once and not json
    every_s = watch or (EVERY_WALL_S if is_live else 0.0)
    if json:
        teller = nullcontext(partial(_tell_programs, bot, one_line=bool(every_s)))
    else:
        teller = _on_screen(console, bot) if is_live else nullcontext(partial(_print, console, bot))
    # Ctrl-C is how one ends a watch.
    with suppress(KeyboardInterrupt):
        asyncio.run(_look(folder, run, bot, every_s, teller))


async def _look(folder: RunDir, run: RunFile, bot: str, every_s: float, teller: AbstractContextManager[Tell]) -> None:
    """Look once, or every so many seconds of the wall until the fleet has ended."""
    clock = FleetClock()
    async with ControlClient(run.gateway, folder.token(OPERATOR)) as client:
        answer = await client.status()
        known = [one.bot for account in answer.accounts for one in account.bots]
        if bot and bot not in known:
            raise ConfigurationError("--bot", f"unknown bot {bot!r}; known are {', '.join(known)}")
        with teller as tell:
            tell(answer, "")
            while every_s and run.is_running:
                await clock.sleep(every_s)
                try:
                    answer, problem = await client.status(), ""
                except NoAnswerError:
                    problem = _AWAY if run.is_running else _ENDED
                tell(answer, problem)


def _tell_programs(bot: str, answer: control_pb2.GetStatusResponse, problem: str, *, one_line: bool) -> None:
    if not problem:
        typer.echo(json_text.dumps(document_of(answer, bot), indent=None if one_line else 1))


def _print(console: Console, bot: str, answer: control_pb2.GetStatusResponse, problem: str) -> None:
    if problem:
        console.print(problem)
        return
    for part in screen_of(answer, bot, console.width):
        console.print(part, highlight=False)


@contextmanager
def _on_screen(console: Console, bot: str) -> Generator[Tell, None, None]:
    """Draw anew in place; what was drawn last stays."""
    with Live(console=console, auto_refresh=False) as live:

        def tell(answer: control_pb2.GetStatusResponse, problem: str) -> None:
            width, height = console.size
            above = [Text(problem, style="yellow")] if problem else []
            parts = screen_of(answer, bot, width, height - len(above))
            live.update(Group(*above, *parts), refresh=True)

        yield tell


def document_of(answer: control_pb2.GetStatusResponse, bot: str = "") -> dict[str, Any]:
    """The answer's part about quota, as plain data: messages' fields by name, 64-bit integers as text."""
    return {
        "time_ns": str(answer.time_ns),
        "accounts": [
            {
                "account": account.account,
                "calls_sent": str(account.calls_sent),
                "rejected_by_deriv": str(account.rejected_by_deriv),
                "breaker": _plain(account.breaker),
                "calls_saved": [_plain(one) for one in account.calls_saved],
                "windows": [_plain(one) for one in account.windows],
                "shares": [_plain(one) for one in account.shares if bot in ("", one.bot)],
                "next_calls": [_plain(one) for one in account.next_calls if bot in ("", one.bot)],
            }
            for account in answer.accounts
        ],
    }


def _plain(message: Message) -> dict[str, Any]:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)

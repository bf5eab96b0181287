"""``derivfleet quota`` at work: asks the gateway once or again and again, and shows each answer."""

from __future__ import annotations

import asyncio
import json as json_text
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from derivfleet.cli.clients import OPERATOR, ControlClient
from derivfleet.cli.errors import NoAnswerError
from derivfleet.cli.messages import dict_of
from derivfleet.cli.screens.console import open_console
from derivfleet.cli.screens.quota import quota_screen
from derivfleet.common.clock import FleetClock
from derivfleet.common.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from rich.console import Console

    from derivfleet.cli.run.run_dir import RunDir, RunFile
    from derivfleet.v1 import control_pb2

    Tell = Callable[[control_pb2.GetStatusResponse, str], None]

__all__ = ["quota_document", "watch_quota"]

EVERY_WALL_S = 1.0
_AWAY = "the gateway does not answer; these are its last figures"
_ENDED = "the fleet has ended; these are its last figures"


def watch_quota(folder: RunDir, bot: str, *, every_s: float | None, once: bool, json: bool) -> None:
    """Show it until Ctrl-C or the end of the fleet; once in a pipe, unless ``every_s`` says how often.

    Raises ConfigurationError if there is no such bot, CommandError if the gateway cannot be asked.
    """
    run = folder.running()
    console = open_console()
    is_live = console.is_terminal and not once and not json
    every_s = every_s or (EVERY_WALL_S if is_live else 0.0)
    if json:
        teller = nullcontext(partial(_tell_programs, bot, one_line=bool(every_s)))
    else:
        teller = _on_screen(console, bot) if is_live else nullcontext(partial(_print, console, bot))
    # Ctrl-C is how one ends a watch.
    with suppress(KeyboardInterrupt):
        asyncio.run(_watch(folder, run, bot, every_s, teller))


async def _watch(folder: RunDir, run: RunFile, bot: str, every_s: float, teller: AbstractContextManager[Tell]) -> None:
    """Ask once, or every so many seconds of the wall until the fleet has ended."""
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
        typer.echo(json_text.dumps(quota_document(answer, bot), indent=None if one_line else 1))


def _print(console: Console, bot: str, answer: control_pb2.GetStatusResponse, problem: str) -> None:
    if problem:
        console.print(problem)
        return
    for part in quota_screen(answer, bot, console.width):
        console.print(part, highlight=False)


@contextmanager
def _on_screen(console: Console, bot: str) -> Generator[Tell, None, None]:
    """Draw anew in place; what was drawn last stays."""
    with Live(console=console, auto_refresh=False) as live:

        def tell(answer: control_pb2.GetStatusResponse, problem: str) -> None:
            width, height = console.size
            above = [Text(problem, style="yellow")] if problem else []
            parts = quota_screen(answer, bot, width, height - len(above))
            live.update(Group(*above, *parts), refresh=True)

        yield tell


def quota_document(answer: control_pb2.GetStatusResponse, bot: str = "") -> dict[str, Any]:
    """The answer's part about quota, as plain data: messages' fields by name, 64-bit integers as text."""
    return {
        "time_ns": str(answer.time_ns),
        "accounts": [
            {
                "account": account.account,
                "calls_sent": str(account.calls_sent),
                "rejected_by_deriv": str(account.rejected_by_deriv),
                "breaker": dict_of(account.breaker),
                "calls_saved": [dict_of(one) for one in account.calls_saved],
                "windows": [dict_of(one) for one in account.windows],
                "shares": [dict_of(one) for one in account.shares if bot in ("", one.bot)],
                "next_calls": [dict_of(one) for one in account.next_calls if bot in ("", one.bot)],
            }
            for account in answer.accounts
        ],
    }

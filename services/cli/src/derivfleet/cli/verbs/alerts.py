"""``derivfleet alerts``: what is wrong, what was, and who asked not to be told."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from derivfleet.cli.options import DEFAULT_RUN_DIR, JsonOption, RunDirOption
from derivfleet.common.errors import ConfigurationError

__all__ = ["alerts_app", "seconds_of"]

_LENGTH = re.compile(r"([1-9]\d{0,5})([smhd])")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MOST_S = 30 * 86_400

alerts_app = typer.Typer(invoke_without_command=True, help="Show alerts, or silence them for a while.")

BotOption = Annotated[str, typer.Option("--bot", help="Only this bot's; without it, of every bot.")]


def seconds_of(text: str) -> int:
    """A length of time, as 90s, 30m, 2h or 7d, in seconds. Raises ConfigurationError."""
    match = _LENGTH.fullmatch(text)
    seconds = int(match[1]) * _UNITS_S[match[2]] if match else 0
    if not 0 < seconds <= _MOST_S:
        raise ConfigurationError("--for", f"must be like 30m, 2h or 7d, at most 30d, not {text!r}")
    return seconds


@alerts_app.callback()
def alerts(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    json: JsonOption = False,
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
    from derivfleet.cli.clients import WatchingClient, ask
    from derivfleet.cli.messages import json_of
    from derivfleet.cli.run.run_dir import RunDir
    from derivfleet.cli.screens.alerts import alerts_screen
    from derivfleet.cli.screens.console import open_console

    answer = ask(WatchingClient, RunDir(run_dir), lambda client: client.alerts(limit))
    if json:
        typer.echo(json_of(answer))
        return
    console = open_console()
    for part in alerts_screen(answer):
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
    from derivfleet.cli.clients import WatchingClient, ask
    from derivfleet.cli.run.run_dir import RunDir
    from derivfleet.cli.screens.alerts import silence_line

    seconds = seconds_of(length)
    kept = ask(WatchingClient, RunDir(run_dir), lambda client: client.silence(rule, bot, seconds, reason))
    typer.echo(silence_line(kept))


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
    from derivfleet.cli.clients import WatchingClient, ask
    from derivfleet.cli.run.run_dir import RunDir
    from derivfleet.cli.screens.alerts import whom

    ended = ask(WatchingClient, RunDir(run_dir), lambda client: client.unsilence(rule, bot))
    typer.echo(f"{ended} ended: {whom(rule, bot)}" if ended else f"nothing was silenced: {whom(rule, bot)}")

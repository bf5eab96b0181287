"""``derivfleet quota``: Deriv's call limits, live: what is used, held back, lent, waited for and saved."""

from __future__ import annotations

from typing import Annotated

import typer

from derivfleet.cli.options import DEFAULT_RUN_DIR, RunDirOption

__all__ = ["quota"]


def quota(
    bot: Annotated[str, typer.Option(help="Only this bot's shares, in every bucket.")] = "",
    once: Annotated[bool, typer.Option("--once", help="Print it once, also on a terminal.")] = False,
    watch: Annotated[
        float | None, typer.Option(min=0.1, help="Look again every so many seconds; 1 on a terminal.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs; with --watch, a line a look.")] = False,
    run_dir: RunDirOption = DEFAULT_RUN_DIR,
) -> None:
    """Show how full Deriv's call limits are, and whose calls fill them: live on a terminal, once in a pipe.

    A bot that leaves part of its share idle lends it; whoever uses more than its share has borrowed.
    What is kept for exits and reconciling is free, but not for purchases.

    For example:

      derivfleet quota                               until Ctrl-C, or the end of the fleet

      derivfleet quota --bot over-4 --once

      derivfleet quota --json --watch 5 | jq -c '.accounts[0].shares[] | select(.borrowed > 0)'
    """
    from derivfleet.cli.run.run_dir import RunDir
    from derivfleet.cli.screens.quota_watch import watch_quota
    from derivfleet.common.errors import ConfigurationError

    if once and watch is not None:
        raise ConfigurationError("--watch", "does not go with --once")
    watch_quota(RunDir(run_dir), bot, every_s=watch, once=once, json=json)

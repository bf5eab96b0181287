"""``derivfleet trace``: where the time of one trade went, as a tree."""

from __future__ import annotations

from typing import Annotated

import typer

from derivfleet.cli.options import DEFAULT_RUN_DIR, JsonOption, RunDirOption

__all__ = ["trace"]


def trace(
    order_id: Annotated[
        str,
        typer.Argument(metavar="[ORDER_ID]", help="As `derivfleet orders` shows it; the newest settled one if none."),
    ] = "",
    json: JsonOption = False,
    run_dir: RunDirOption = DEFAULT_RUN_DIR,
) -> None:
    """Show one trade as a tree of spans, from the bot's decision to the settlement.

    One line a span: when it began after the first one, how long it took,
    whose it is, and what it says that no span above it has said.
    What each span measures is in docs/telemetry.md.

    For example:

      derivfleet trace                                  the newest settled order

      derivfleet trace over-4:1HZ100V:1795257874:0      this one

      derivfleet trace --json | jq '.spans[].name'
    """
    from derivfleet.cli.clients import ReportsClient, ask
    from derivfleet.cli.messages import json_of
    from derivfleet.cli.run.run_dir import RunDir
    from derivfleet.cli.screens.console import open_console
    from derivfleet.cli.screens.trace import trace_lines

    found = ask(ReportsClient, RunDir(run_dir), lambda client: client.trace(order_id))
    if json:
        typer.echo(json_of(found))
        return
    console = open_console()
    for line in trace_lines(found):
        # Whoever reads a pipe cuts for themselves; a terminal would break the tree.
        console.print(line, no_wrap=True, overflow="ellipsis" if console.is_terminal else "ignore", crop=False)

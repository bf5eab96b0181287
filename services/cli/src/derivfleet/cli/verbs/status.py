"""``derivfleet status``: how the fleet is, once."""

from __future__ import annotations

import json as json_text

import typer

from derivfleet.cli.options import DEFAULT_RUN_DIR, JsonOption, RunDirOption

__all__ = ["status"]


def status(
    run_dir: RunDirOption = DEFAULT_RUN_DIR,
    json: JsonOption = False,
) -> None:
    """Show connections, quota and bots of the running fleet.

    For example:

      derivfleet status

      derivfleet status --json | jq '.accounts[0].bots[] | select(.unknown != "0")'
    """
    from derivfleet.cli.clients import ControlClient, WatchingClient, ask
    from derivfleet.cli.errors import CommandError
    from derivfleet.cli.messages import dict_of
    from derivfleet.cli.run.run_dir import RunDir
    from derivfleet.cli.screens.console import open_console
    from derivfleet.cli.screens.status import copy_line, status_screen

    folder = RunDir(run_dir)
    run = folder.running()
    answer = ask(ControlClient, folder, lambda client: client.status())
    try:
        replication = ask(WatchingClient, folder, lambda client: client.replication())
    except CommandError:
        # The gateway's word is what was asked for; that the other one is silent is told beside it.
        replication = None
    if json:
        told = {**dict_of(answer), "replication": None if replication is None else dict_of(replication)}
        typer.echo(json_text.dumps(told, indent=2))
        return
    console = open_console()
    for part in status_screen(answer):
        console.print(part)
    if line := copy_line(replication):
        console.print(line, highlight=False)
    console.print(f"page: http://{run.web} (`derivfleet page` prints the link that signs you in)", highlight=False)

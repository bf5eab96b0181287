"""``derivfleet page``: the link that opens the web page signed in."""

from __future__ import annotations

import typer

from derivfleet.cli.options import DEFAULT_RUN_DIR, RunDirOption

__all__ = ["page"]


def page(run_dir: RunDirOption = DEFAULT_RUN_DIR) -> None:
    """Print the link that opens the web page of the running fleet, signed in.

    Its token reads and does nothing else, and ends with the run. It stands behind the #, so no server gets it
    with the address; the page takes it out of the address at once. Who has the link can read the page.

    For example:

      open "$(derivfleet page)"
    """
    from derivfleet.cli.run.run_dir import RunDir

    folder = RunDir(run_dir)
    typer.echo(folder.page_link(folder.running().web))

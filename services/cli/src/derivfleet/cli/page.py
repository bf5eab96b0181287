"""``derivfleet page``: the link that opens the web page signed in."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from derivfleet.cli.rundir import DEFAULT_RUN_DIR, RunDir

__all__ = ["page"]


def page(run_dir: Annotated[Path, typer.Option(help="The folder of the run.")] = DEFAULT_RUN_DIR) -> None:
    """Print the link that opens the web page of the running fleet, signed in.

    Its token reads and does nothing else, and ends with the run. It stands behind the #, so no server gets it
    with the address; the page takes it out of the address at once. Who has the link can read the page.

    For example:

      open "$(derivfleet page)"
    """
    folder = RunDir(run_dir)
    typer.echo(folder.page_link(folder.running().web))

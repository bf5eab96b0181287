"""``python -m tests.soak``: see the package."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from derivfleet.deriv.vocabulary import Dialect
from tests.soak.chart import draw_chart
from tests.soak.soak_run import RunProgress, SoakRun

TARGET = Path("build/soak.json")
FOLDER = Path("build/soak")


def soak(
    hours: Annotated[float, typer.Option(min=0.01, help="Hours of fleet time.")] = 1,
    speed: Annotated[float, typer.Option(min=1, max=60, help="Fleet seconds a second.")] = 1,
    pause_ticks: Annotated[int, typer.Option(min=-1, help="Least pause of each bot; -1 chooses by speed.")] = -1,
    dialect: Annotated[Dialect, typer.Option(help="Which of Deriv's APIs.")] = Dialect.OPTIONS,
    target: Annotated[Path, typer.Option(help="The JSON file; the picture lies beside it.")] = TARGET,
    folder: Annotated[Path, typer.Option(help="Where logs, records and tokens go.")] = FOLDER,
) -> None:
    """Trade for hours, and see that nothing piles up and every bot can trade all the time.

    Ten bots, gateway, metrics service and simulator run as processes. Memory, descriptors, tasks, objects, open calls,
    streams and queues of each are sampled; after the first quarter none may grow by more than 5 % beyond its noise.
    Journal and metrics store grow by design and are told in MB a day. Exit code 0: no leak, every bot could trade
    99.9 % of the time, and the ledger matches; 1: something is not so.

      python -m tests.soak --hours 24 --speed 40      36 minutes

      python -m tests.soak --hours 1                  an hour at Deriv's own pace
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    console = Console()
    columns = (TextColumn("{task.fields[state]:<60}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    # Faster than ten, two processors are too few for bots that trade at every chance.
    pause = round(4 * max(0.0, speed - 10)) if pause_ticks < 0 else pause_ticks
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("soak", total=hours * 3600 / speed, state="")

        def show(now: RunProgress) -> None:
            state = f"{now.stage}: gateway {now.rss_mb:.0f} MB, {now.orders:,} receipts"
            progress.update(task, completed=now.passed_s, state=state)

        try:
            report = asyncio.run(SoakRun(hours, speed, pause, dialect, folder, show).run())
        except TimeoutError:
            console.print(f"the fleet did not come up; see {folder}/logs")
            raise typer.Exit(1) from None
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(report.facts, indent=1) + "\n")
    draw_chart(report.watch.series, speed / 3600, report.warm_s, target.with_suffix(".png"))
    for name, observables in report.facts["processes"].items():
        shown = ", ".join(
            f"{key} {observables[key]['first']:g} {observables[key]['growth']:+g}"
            for key in ("rss_mb", "descriptors", "tasks", "objects")
            if key in observables
        )
        console.print(f"{name:<12} {shown}", highlight=False)
    console.print(f"least uptime {report.facts['least_uptime']:.4%}, MB a day {report.facts['disk_mb_a_day']}")
    for problem in report.problems:
        console.print(f"[red]{problem}[/red]", highlight=False)
    console.print(f"figures: {target}, {target.with_suffix('.png')}")
    if report.problems:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(soak)

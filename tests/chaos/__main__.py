"""``python -m tests.chaos``: see the package."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from derivfleet.deriv.vocabulary import Dialect
from tests.chaos.chaos_run import ChaosRun, RunProgress

TARGET = Path("build/chaos.json")
FOLDER = Path("build/chaos")


def chaos(
    kills: Annotated[int, typer.Option(min=1, help="SIGKILLs of the gateway and of bots.")] = 20,
    cuts: Annotated[int, typer.Option(min=0, help="Cuts, silences and slow spells of the line to Deriv.")] = 200,
    seed: Annotated[int, typer.Option(help="Of what goes wrong when, and of the market.")] = 1,
    speed: Annotated[float, typer.Option(min=1, max=30, help="Fleet seconds a second.")] = 10,
    bots: Annotated[int, typer.Option(min=1, max=20, help="Bots with a process of their own.")] = 4,
    callers: Annotated[int, typer.Option(min=1, max=20, help="Bots whose every stake is another.")] = 4,
    kill_every: Annotated[float, typer.Option(min=0.5, help="Wall seconds between kills, at most.")] = 3.0,
    cut_every: Annotated[float, typer.Option(min=0.05, help="Wall seconds between cuts, on average.")] = 0.3,
    dialect: Annotated[Dialect, typer.Option(help="Which of Deriv's APIs.")] = Dialect.OPTIONS,
    target: Annotated[Path, typer.Option(help="The JSON file.")] = TARGET,
    folder: Annotated[Path, typer.Option(help="Where logs, journal and tokens go.")] = FOLDER,
) -> None:
    """Kill, pause, starve and cut off a trading fleet; then compare every order with the simulator's ledger.

    Gateways and bots are killed with SIGKILL and started again, stopped and continued, and a second gateway comes
    while the first one stands still; the journal's disk is full for a while; lines to Deriv are cut, also in the
    middle of a frame, fall silent or slow. Exit code 0: no order was lost, doubled, wrong or left in doubt; 1: one
    was, or a process ended by itself.

      python -m tests.chaos --kills 200 --cuts 2000      half an hour
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    console = Console()
    columns = (TextColumn("{task.fields[state]:<72}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("chaos", total=kills + cuts / 10, state="")

        def show(now: RunProgress) -> None:
            state = f"{now.stage}: {now.kills}/{kills} kills, {now.cuts}/{cuts} cuts, {now.transitions} transitions"
            progress.update(task, completed=now.kills + now.cuts / 10, state=state)

        chaos_run = ChaosRun(kills, cuts, seed, speed, bots, callers, kill_every, cut_every, dialect, folder, show)
        try:
            report = asyncio.run(chaos_run.run())
        except TimeoutError:
            console.print(f"the fleet did not come up, or bought nothing; see {folder}/logs")
            raise typer.Exit(1) from None
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(report.facts, indent=1) + "\n")
    facts = report.facts
    for name in ("kills", "cuts", "orders", "duplicates", "lost", "silently_unknown", "wrong_profit", "unresolved"):
        console.print(f"{name:<18} {facts[name]}")
    for name in ("takeover_ms", "first_order_ms"):
        console.print(f"{name:<18} p50 {facts[name]['p50']:.0f}, p99 {facts[name]['p99']:.0f} (n {facts[name]['n']})")
    for name in ("others_unknown", "nobody_unknown"):
        waits = facts["waits"][name]
        title = f"waits, {name.replace('_', ' ')}"
        console.print(f"{title:<18} p50 {waits['p50']} ms, p99 {waits['p99']} ms of fleet time (n {waits['n']})")
    for problem in report.problems:
        console.print(f"[red]{problem}[/red]", highlight=False)
    console.print(f"figures: {target}")
    if report.problems:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(chaos)

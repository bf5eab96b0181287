"""``python -m tests.fuzz``: see the package."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.fuzz.call_target import CallTarget
from tests.fuzz.fuzz_run import SHARES, TARGETS, FuzzRun, play_one
from tests.fuzz.targets import chance_of

TARGET = Path("build/fuzz.json")
FOLDER = Path("build/fuzz")
MOST_GROWTH_MB = 64.0
"""Of any process, after its first tenth: caches of the gateway that fill up take about twenty."""


def _replay(console: Console, replay: str, seed: int, folder: Path) -> bool:
    """Play one case again; whether it is as it must be."""
    name, _, number = replay.partition(":")
    if name not in SHARES or not number.isdigit():
        raise typer.BadParameter(f"--replay {replay}: must be target:number; targets are {', '.join(SHARES)}")

    async def call() -> str:
        async with CallTarget(folder) as target:
            case = target.make(chance_of(seed, name, int(number)))
            console.print(repr(case)[:2000], markup=False)
            try:
                await target.throw(case)
            except AssertionError as error:
                return str(error)
            return "" if await target.is_alive() else "the gateway does not answer"

    if name not in TARGETS:
        problem = asyncio.run(call())
    else:
        with TARGETS[name]() as target:
            case = target.make(chance_of(seed, name, int(number)))
            console.print(repr(case)[:2000], markup=False)
            found = play_one(target, case)
            problem = f"{found.where}: {found.error}" if found else ""
    console.print(problem or "as it must be", markup=False)
    return not problem


def fuzz(
    cases: Annotated[int, typer.Option("--cases", "-n", min=100, help="How many.")] = 20_000,
    seed: Annotated[int, typer.Option(help="What the cases follow from.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Processes, besides the gateway's.")] = os.cpu_count() or 1,
    only: Annotated[list[str] | None, typer.Option("--target", help="Only this one; may be repeated.")] = None,
    replay: Annotated[str, typer.Option(help="Play one case again, as frames:1234, and nothing else.")] = "",
    target: Annotated[Path, typer.Option("--figures", help="The JSON file.")] = TARGET,
    folder: Annotated[Path, typer.Option(help="Where the gateway of the calls keeps its files.")] = FOLDER,
) -> None:
    """Throw broken input at the gateway: frames from Deriv, calls from bots, fleet files.

    Targets: frames (reading every answer in both dialects), connection (a socket with a call and a stream open),
    account (an order's life with one broken answer), fleet (fleet.yaml), calls (every method over gRPC, at a gateway's
    own process). Exit code 0: nothing crashed, hung, or grew; 1: something did, and the seed and number that show it
    again are printed.

      python -m tests.fuzz -n 1000000 --jobs 2

      python -m tests.fuzz --replay fleet:1234
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    console = Console()
    for name in only or ():
        if name not in SHARES:
            raise typer.BadParameter(f"--target {name}: known are {', '.join(SHARES)}")
    if replay:
        raise typer.Exit(0 if _replay(console, replay, seed, folder) else 1)
    columns = (TextColumn("fuzz"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    began_s = time.monotonic()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("fuzz", total=cases)
        run = FuzzRun(cases, seed, jobs, folder, tuple(only or ()), lambda done: progress.update(task, completed=done))
        asyncio.run(run.run())
        progress.update(task, completed=cases)
    facts = _facts(run, time.monotonic() - began_s)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(facts, indent=1) + "\n")
    for name, figures in facts["by_target"].items():
        console.print(f"{name:<11}" + ", ".join(f"{key} {value:,}" for key, value in figures.items()), highlight=False)
    for failure in run.failures:
        console.print(f"{failure.kind} {failure.where}: {failure.error}", markup=False, highlight=False)
        again = f"--seed {seed} --replay {failure.target}:{failure.number}"
        console.print(f"  python -m tests.fuzz {again}\n  {failure.small}", markup=False, highlight=False)
    console.print(f"figures: {target}")
    if facts["crashes"] or facts["hangs"] or facts["rss_growth_mb"] > MOST_GROWTH_MB:
        raise typer.Exit(1)


def _facts(run: FuzzRun, wall_s: float) -> dict[str, Any]:
    by_target: dict[str, dict[str, Any]] = {
        name: {
            "cases": figures.cases,
            "crashes": figures.crashes,
            "hangs": figures.hangs,
            "rss_growth_mb": round(figures.rss_growth_mb, 1),
            "cases_a_second": round(figures.cases / figures.busy_s) if figures.busy_s else 0,
        }
        for name, figures in run.figures.items()
    }
    return {
        "cases": sum(one["cases"] for one in by_target.values()),
        "crashes": sum(one["crashes"] for one in by_target.values()),
        "hangs": sum(one["hangs"] for one in by_target.values()),
        "rss_growth_mb": max(one["rss_growth_mb"] for one in by_target.values()),
        "by_target": by_target,
        "seed": run.seed,
        "jobs": run.jobs,
        "wall_s": round(wall_s, 1),
        "failures": [asdict(failure) for failure in run.failures],
    }


if __name__ == "__main__":
    typer.run(fuzz)

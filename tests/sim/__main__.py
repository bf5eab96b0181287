"""``python -m tests.sim``: play seeds, count what happened, write ``build/sim.json``; ends with 1 if anything is wrong.

A seed that fails is shrunk to a short story, which is printed with the command that tells it again.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.sim.plan import KINDS, POINTS, Plan
from tests.sim.runs import Outcome, Totals, play, played
from tests.sim.shrink import Part, part_of, shrunk

TARGET = Path("build/sim.json")
ORDERS_A_SEED = 100
MOST_STORIES = 3
MOST_UNRESOLVED = 0.0001
LEAST_FAULTED = 0.2
STORY_WIDTH = 240


def main(
    orders: Annotated[int, typer.Option(help="orders in all")] = 20_000,
    seeds: Annotated[str, typer.Option(help="how many seeds, or first-last; the orders are spread over them")] = "",
    jobs: Annotated[int, typer.Option(min=1, help="processes")] = 2,
    seed: Annotated[int | None, typer.Option(help="play this seed alone")] = None,
    story: Annotated[bool, typer.Option(help="tell what happened, with --seed")] = False,
    only: Annotated[str, typer.Option(help="a part of the seed's plan, as a failure prints it")] = "",
    each: Annotated[int, typer.Option(min=1, help="orders of a seed")] = ORDERS_A_SEED,
    target: Annotated[Path, typer.Option(help="where the counts go")] = TARGET,
) -> None:
    """Play orders through the real gateway under faults and crashes, on virtual time."""
    console = Console()
    if seed is not None:
        plan = Plan.of_seed(seed, each)
        outcome = play(part_of(plan, Part.read(only)) if only else plan, with_story=story)
        _tell(outcome)
        raise typer.Exit(bool(outcome.problems))
    first, last = _range(seeds, orders, each)
    if seeds:
        each = max(1, round(orders / (last - first + 1)))
    began = time.monotonic()
    totals = _totals(console, first, last, each, jobs)
    took_s = time.monotonic() - began
    figures = totals.as_json() | {"seconds": round(took_s, 1), "orders_a_second": round(totals.orders / took_s)}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    _print(console, totals, took_s)
    for outcome in totals.failed[:MOST_STORIES]:
        _explain(console, outcome, each)
    is_faulty = totals.faulted < LEAST_FAULTED * totals.orders
    is_vague = totals.unresolved > MOST_UNRESOLVED * totals.orders
    raise typer.Exit(bool(totals.failed) or is_faulty or is_vague)


def _range(seeds: str, orders: int, each: int) -> tuple[int, int]:
    first, dash, last = seeds.partition("-")
    if dash:
        return int(first), int(last)
    return 1, int(seeds) if seeds else max(1, round(orders / each))


def _totals(console: Console, first: int, last: int, each: int, jobs: int) -> Totals:
    totals = Totals()
    columns = (
        TextColumn("seeds"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]} failed"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("seeds", total=last - first + 1, failed=0)
        for outcome in played(range(first, last + 1), each, jobs):
            totals.add(outcome)
            progress.update(task, advance=1, failed=len(totals.failed))
    return totals


def _print(console: Console, totals: Totals, took_s: float) -> None:
    pairs = sorted((totals.pairs[f"{kind} × {point}"], kind, point) for kind in KINDS for point in POINTS)
    least, kind, point = pairs[0]
    wrong = ", ".join(f"{count} {name}" for name, count in sorted(totals.problems.items())) or "nothing wrong"
    console.print(
        f"{totals.orders} orders, {totals.bought} bought, {totals.faulted} faulted, "
        f"{sum(totals.crashes.values())} crashes, in {took_s:.0f} s ({totals.orders / took_s:.0f} orders/s)"
    )
    console.print(f"rarest of {len(pairs)} pairs of fault and crash point: {kind} × {point}, {least} times")
    console.print(f"{wrong}; {totals.unresolved} unresolved")


def _explain(console: Console, outcome: Outcome, each: int) -> None:
    console.print(f"\nseed {outcome.seed} fails: {'; '.join(outcome.problems[:5])}\nshrinking it …")
    plan = Plan.of_seed(outcome.seed, each)
    part = shrunk(plan, outcome.kinds)
    _tell(play(part_of(plan, part), with_story=True))
    print(f"again: make sim SEED={outcome.seed} EACH={each} ONLY={part} STORY=1")  # noqa: T201 - to be copied whole


def _tell(outcome: Outcome) -> None:
    for line in outcome.story:
        print(line if len(line) <= STORY_WIDTH else f"{line[:STORY_WIDTH]} …")  # noqa: T201 - byte for byte
    for problem in outcome.problems:
        print(f"WRONG  {problem}")  # noqa: T201 - as above
    for order_id in outcome.unresolved:
        print(f"unresolved  {order_id}")  # noqa: T201 - as above


if __name__ == "__main__":
    typer.run(main)

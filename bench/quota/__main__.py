"""``python -m bench.quota``: play the days, print the table and the verdicts, write ``build/bench/quota.json``.

Ends with 1 if the fleet's design misses what it must reach; the times of decisions are told, but do not decide.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.quota import world
from bench.quota.cases import BASELINES, FLEET, cases, play, time_decisions
from bench.quota.demand import DemandName  # noqa: TC001 - typer needs it at run time
from bench.quota.tables import table_of_rows, table_of_verdicts
from bench.quota.verdicts import Verdict, judge
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.vocabulary import Dialect

if TYPE_CHECKING:
    from bench.quota.figures import Case, Row

TARGET = Path("build/bench/quota.json")
FEWEST_HOURS = 2
"""One of them with a full hour behind it."""
FEWEST_BOTS = 5
WIDTH = 160
"""Of the tables where no terminal says how wide it is."""
ASSUMPTIONS = {
    "one_way_delay_ms": f"{world.FLOOR_MS:g} + lognormal(median {world.MEDIAN_MS:g}, sigma {world.SIGMA:g}), "
    f"at most {world.CAP_MS:g}; each call and way by itself",
    "clock_rate_ppm": f"uniform(-{world.SKEW_PPM}, {world.SKEW_PPM}), one draw per case",
    "clock_offset_s": f"uniform(0, {world.MOST_APART_S}), one draw per case",
    "refused_calls_count": True,
    "headroom": 1.0,
    "fastest_answer_ms": world.FASTEST_NS / 1e6,
    "clock_drift_ppm": world.SKEW_PPM,
    "exits": "Poisson, at 10 % of the limit that can be kept up; in trade also 60 at once every hour",
}


def document(rows: list[Row], verdicts: list[Verdict]) -> dict[str, object]:
    """What is written down."""
    return {
        "assumptions": ASSUMPTIONS,
        "cases": [row.as_json() for row in rows],
        "verdicts": [asdict(verdict) for verdict in verdicts],
    }


def in_order(rows: list[Row]) -> list[Row]:
    """The fleet's first, then by class, bots, demand and window."""

    def place(row: Row) -> tuple[object, ...]:
        return row.design != FLEET, row.design, row.dialect, row.bucket, row.bots, row.demand, row.window

    return sorted(rows, key=place)


def _play_all(todo: list[Case], jobs: int, console: Console) -> list[Row]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        days, times = (bar.add_task(name, total=len(todo)) for name in ("days", "decisions timed"))
        played: list[tuple[Case, list[Row]]] = []
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            try:
                under_way = {pool.submit(play, case): case for case in todo}
                for future in as_completed(under_way):
                    played.append((under_way[future], future.result()))
                    bar.advance(days)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        rows: list[Row] = []
        for case, figures in played:  # one after the other, for now nothing else runs
            decision_us = time_decisions(case)
            rows += [replace(row, decision_us=decision_us) for row in figures]
            bar.advance(times)
    return in_order(rows)


def main(
    hours: Annotated[int, typer.Option(min=FEWEST_HOURS, help="virtual hours of each day")] = 24,
    bots: Annotated[list[int] | None, typer.Option(min=FEWEST_BOTS, help="how many bots; may be repeated")] = None,
    demand: Annotated[list[DemandName] | None, typer.Option(help="may be repeated")] = None,
    bucket: Annotated[list[str] | None, typer.Option("--class", help="class of calls; may be repeated")] = None,
    design: Annotated[list[str] | None, typer.Option(help="fleet or a baseline; may be repeated")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="processes")] = os.cpu_count() or 1,
    target: Annotated[Path, typer.Option(help="the JSON file")] = TARGET,
) -> None:
    """Play virtual days of many bots against the simulator's counters."""
    known = {name for each in Dialect for name in dialect(each).limits.buckets}
    for option, given, names in (("--class", bucket, known), ("--design", design, {FLEET, *BASELINES})):
        for name in given or ():
            if name not in names:
                raise typer.BadParameter(f"{option} {name}: known are {', '.join(sorted(names))}")
    todo = cases(hours, design or (), bots or (), demand or (), bucket or ())
    if not todo:
        raise typer.BadParameter("no such day: unless bots and class are named, baselines play few (see docs/quota.md)")
    console = Console(width=None if os.isatty(1) else WIDTH)
    rows = _play_all(todo, jobs, console)
    verdicts = judge(rows)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document(rows, verdicts), indent=1) + "\n")
    console.print(table_of_rows(rows))
    if verdicts:
        console.print(table_of_verdicts(verdicts))
    console.print(f"figures: {target}")
    if not all(verdict.met or verdict.speed for verdict in verdicts):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)

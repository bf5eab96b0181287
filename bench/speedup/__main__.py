"""``python -m bench.speedup``: the same hour under each design; figures, table and chart go to ``build/bench``."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bench.speedup.chart import draw
from bench.speedup.design_run import FAULTS, SEED, Design, DesignRun, RunProgress
from bench.speedup.figures import Figures, Run, figures_of
from derivfleet.cli.errors import EXIT_FAILED, CommandError
from derivfleet.common.errors import ConfigurationError
from derivfleet.deriv.limits import OPTIONS_LIMITS

FOLDER = Path("build/bench")
TRADE = OPTIONS_LIMITS.buckets["trade"]
TITLES = {
    Design.LOCK: "lock: one program, one lock, one socket",
    Design.SOCKETS: "sockets: four sockets, limits per bot, blind retries",
    Design.FLEET: "fleet: the gateway and ten bots",
}
BOUND_BY = {
    Design.LOCK: "its own limit of 5 purchases a minute for the whole process, and one bot trading at a time",
    Design.SOCKETS: "its own limit of 3 purchases a minute a bot; quotes and checks use up Deriv's limit beside them",
    Design.FLEET: "Deriv's limit of 14,400 trading calls an hour, of which it spends one on a trade",
}
FULL_HOUR_MIN = 60.0

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def goals_of(figures: dict[str, Figures], minutes: float) -> list[tuple[str, bool]]:
    """What is claimed, and whether this run bears it out. How full the hour was takes an hour to tell."""
    goals: list[tuple[str, bool]] = []
    fleet = figures.get(Design.FLEET)
    if fleet is None:
        return goals
    for design, times in ((Design.LOCK, 20), (Design.SOCKETS, 5)):
        if design in figures:
            ratio = fleet.trades_per_min / max(figures[design].trades_per_min, 1e-9)
            goals.append((f"fleet ÷ {design}: {ratio:.1f} × the trades a minute (≥ {times})", ratio >= times))
    p99_s = fleet.op_ms["p99"] / 1000
    goals += [
        (f"fleet: {fleet.refused} calls refused by Deriv for rate (0)", fleet.refused == 0),
        (f"fleet: {fleet.duplicates} purchases nobody asked for (0)", fleet.duplicates == 0),
        (f"fleet: {fleet.errors_logged} errors in the logs (0)", fleet.errors_logged == 0),
        (f"fleet: {fleet.bots} bots traded (10)", fleet.bots == 10),  # noqa: PLR2004 - as many as the file has
        (f"fleet: p99 of an operation {p99_s:.2f} s (< 2)", p99_s < 2),  # noqa: PLR2004 - what is claimed
    ]
    if minutes >= FULL_HOUR_MIN:
        full = f"fleet: {fleet.utilisation:.3f} of the trading calls that Deriv allows used (> 0.95)"
        goals.append((full, fleet.utilisation > 0.95))  # noqa: PLR2004 - what is claimed
    return goals


def table_of(figures: dict[str, Figures], speed: float) -> Table:
    """Designs side by side."""
    table = Table("", *(Design(name).value for name in figures), title="The same bots, market and faults")
    rows: dict[str, list[str]] = {
        "settled trades a minute": [f"{one.trades_per_min:,.1f}" for one in figures.values()],
        "settled trades": [f"{one.trades:,}" for one in figures.values()],
        "of one bot, least to most": [
            f"{one.trades_of_a_bot['least']:,} to {one.trades_of_a_bot['most']:,}" for one in figures.values()
        ],
        "purchases nobody asked for": [f"{one.duplicates}" for one in figures.values()],
        "calls refused by Deriv for rate": [f"{one.refused}" for one in figures.values()],
        "trading calls used, of all allowed": [f"{one.utilisation:.1%}" for one in figures.values()],
        "trading calls for one trade": [f"{one.trade_calls_per_trade:.2f}" for one in figures.values()],
        "so at most, trades a minute": [f"{one.most_trades_per_min:.1f}" for one in figures.values()],
        "operations a second": [f"{one.ops_per_s:.2f}" for one in figures.values()],
        "an operation takes, p50 / p99": [
            f"{one.op_ms['p50'] / 1000:.2f} / {one.op_ms['p99'] / 1000:.2f} s" for one in figures.values()
        ],
        "the same by the wall's clock": [
            f"{one.op_ms['p50'] / speed:.0f} / {one.op_ms['p99'] / speed:.0f} ms" for one in figures.values()
        ],
        "a process wakes late by, p50 / p99": [
            f"{one.machine_late_ms['p50']:.0f} / {one.machine_late_ms['p99']:.0f} ms" for one in figures.values()
        ],
        "settled profit, USD": [one.profit for one in figures.values()],
    }
    for title, cells in rows.items():
        table.add_row(title, *cells)
    for call in sorted({call for one in figures.values() for call in one.op_ms_by_call}):
        spreads = [one.op_ms_by_call.get(call) for one in figures.values()]
        cells = [f"{spread['p50'] / 1000:.2f} / {spread['p99'] / 1000:.2f} s" if spread else "–" for spread in spreads]
        table.add_row(f"  {call}", *cells)
    return table


def content_of(figures: dict[str, Figures], speed: float, minutes: float) -> dict[str, Any]:
    """The JSON file. Times are fleet time: divide by ``speed`` for the wall's."""
    designs: dict[str, dict[str, Any]] = {}
    for name, found in figures.items():
        facts = asdict(found)
        del facts["settled_s"]
        designs[name] = facts | {"bound_by": BOUND_BY[Design(name)]}
    return {
        "conditions": {"speed": speed, "minutes": minutes, "seed": SEED, "faults": FAULTS, "dialect": "options"},
        "designs": designs,
        "goals": [{"goal": goal, "met": met} for goal, met in goals_of(figures, minutes)],
    }


def _trade(design: Design, speed: float, minutes: float, console: Console) -> Figures:
    bar = Progress(
        TextColumn(f"{design.value:<8}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
        console=console,
    )
    with bar as progress:
        task = progress.add_task(design.value, total=minutes * 60, state="starting")

        def show(look: RunProgress) -> None:
            passed_s = max(0.0, look.passed_s)
            state = f"{passed_s / 60:4.0f} min  {look.buys:,} purchases" if look.passed_s >= 0 else "warming up"
            progress.update(task, completed=passed_s, state=state)

        async def trade() -> Run:
            return await DesignRun(design, speed, minutes, FOLDER / "speedup" / design.value, show).run()

        run = asyncio.run(trade())
        progress.update(task, completed=minutes * 60, state="done")
    return figures_of(run, TRADE)


@app.command()
def speedup(
    minutes: Annotated[float, typer.Option(min=1, help="How much fleet time to trade.")] = FULL_HOUR_MIN,
    hours: Annotated[float, typer.Option(min=0, help="The same in hours, if not 0.")] = 0,
    speed: Annotated[float, typer.Option(min=1, max=60, help="Fleet seconds a second.")] = 10,
    design: Annotated[list[Design] | None, typer.Option(help="Only this one; may be given several times.")] = None,
) -> None:
    """Trade the same hour under one lock, over four sockets, and with the fleet. Exit code 1 if a goal is missed."""
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    span_min = hours * 60 or minutes
    console = Console()
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        figures = {one.value: _trade(one, speed, span_min, console) for one in Design if not design or one in design}
    except (CommandError, ConfigurationError) as error:
        console.print(str(error))
        raise typer.Exit(EXIT_FAILED) from None
    content = content_of(figures, speed, span_min)
    (FOLDER / "speedup.json").write_text(json.dumps(content, indent=2) + "\n")
    allowed_per_min = 60 * min(most / window_s for window_s, most in TRADE.windows.items())
    draw(figures, {one.value: title for one, title in TITLES.items()}, allowed_per_min, FOLDER / "speedup.png")
    console.print(table_of(figures, speed))
    for name in figures:
        console.print(f"{name} is bound by {BOUND_BY[Design(name)]}")
    for goal in content["goals"]:
        console.print(f"{'met   ' if goal['met'] else 'MISSED'} {goal['goal']}")
    console.print(f"{FOLDER / 'speedup.json'}, {FOLDER / 'speedup.png'}")
    if not all(goal["met"] for goal in content["goals"]):
        raise typer.Exit(EXIT_FAILED)


if __name__ == "__main__":
    app()

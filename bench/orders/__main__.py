"""``python -m bench.orders [--orders N]``: what the journal adds to a purchase, and how soon a long one is open."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.gateway.figures import machine
from bench.gateway.processes import Helper
from bench.orders.testbed import BOTS, CHUNK, Testbed, fill
from bench.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Callable

RESULT = Path("build/bench/orders.json")
ORDERS = 100_000
RATE = 40.0
"""Purchases a second."""
ROUNDS = 5
ROUND_S = 2.0
NONE, SQLITE, POSTGRES = "none", "SQLite", "PostgreSQL"
MOST_ADDED_MS = 2.0
LONGEST_START_S = 3.0
Figures = dict[str, dict[str, float]]


def purchases(testbed: Testbed, server: Postgres, step: Callable[[str], None]) -> Figures:
    """How long purchases take: of each round's median and 99th percentile the middle one, in milliseconds."""
    taken: dict[str, list[dict[str, Any]]] = {NONE: [], SQLITE: [], POSTGRES: []}
    with ExitStack() as stack:
        caller = stack.enter_context(Helper("bench.gateway.call_load", testbed.folder / "caller.log"))
        step("starting three gateways")
        ports = {
            NONE: testbed.gateway(stack, "none", "bench.orders.null_journal")[0],
            SQLITE: testbed.gateway(stack, str(testbed.folder / "journal.sqlite"))[0],
            POSTGRES: testbed.gateway(stack, server.create("purchases"))[0],
        }
        for number in range(ROUNDS):
            for name, port in ports.items():
                step(f"purchases, journal {name}, round {number + 1} of {ROUNDS}")
                order = {"to": "gateway", "port": port, "tokens": str(testbed.tokens.parent), "kinds": ["buy"]}
                found = caller.run(**order, clients=BOTS, rate=RATE, seconds=ROUND_S, run=f"r{number}")
                if set(found["outcomes"]) != {"answered"}:
                    raise RuntimeError(f"purchases ended as {found['outcomes']}")
                taken[name].append(found)
    return {
        name: {p: statistics.median(found[p] for found in rounds) for p in ("p50_ms", "p99_ms")}
        for name, rounds in taken.items()
    }


def starts(testbed: Testbed, server: Postgres, orders: int, step: Callable[[str], None]) -> dict[str, float]:
    """After how many seconds a gateway serves whose journal holds many orders; the empty one tells what is not it."""
    places = {NONE: "none", SQLITE: str(testbed.folder / "long.sqlite"), POSTGRES: server.create("long")}
    found: dict[str, float] = {}
    for name, place in places.items():
        if name != NONE:
            fill(place, orders, lambda done, name=name: step(f"{name}: {done:,} of {orders:,} orders"))
        step(f"starting with journal {name}")
        module = "bench.orders.null_journal" if name == NONE else "derivfleet.gateway"
        with ExitStack() as stack:
            _, found[name] = testbed.gateway(stack, place, module)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.orders", description=__doc__)
    parser.add_argument(
        "--orders", type=int, default=ORDERS, help="how many a long journal holds (default %(default)s)"
    )
    orders: int = parser.parse_args().orders
    console = Console(width=None if sys.stdout.isatty() else 120)
    steps = 1 + 3 * ROUNDS + 3 + 2 * -(-orders // CHUNK)
    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with (
        tempfile.TemporaryDirectory() as folder,
        Postgres() as server,
        ExitStack() as stack,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        task = progress.add_task("", total=steps)

        def step(what: str) -> None:
            progress.update(task, description=what, advance=1)

        testbed = Testbed.start(stack, Path(folder))
        took = purchases(testbed, server, step)
        started_s = starts(testbed, server, orders, step)
    added = {p: {name: took[name][p] - took[NONE][p] for name in (SQLITE, POSTGRES)} for p in ("p50_ms", "p99_ms")}
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    figures = {"purchase": took, "added": added, "orders": orders, "start_s": started_s, "machine": machine()}
    RESULT.write_text(json.dumps(figures, indent=1) + "\n")
    table = Table(title="what the journal costs")
    for title in ("journal", "purchase p50 ms", "p99 ms", "added p50", "added p99", f"start with {orders:,}, s", ""):
        table.add_column(title, justify="left" if title in ("journal", "") else "right")
    for name, one in took.items():
        cells = [f"{one['p50_ms']:.2f}", f"{one['p99_ms']:.2f}"]
        verdict = ""
        if name != NONE:
            cells += [f"{added[p][name]:+.2f}" for p in ("p50_ms", "p99_ms")]
            met = added["p50_ms"][name] <= MOST_ADDED_MS and started_s[name] <= LONGEST_START_S
            verdict = "met" if met else "NOT MET"
        else:
            cells += ["", ""]
        table.add_row(name, *cells, f"{started_s[name]:.2f}", verdict)
    console.print(table)
    console.print(f"asked: adds at most {MOST_ADDED_MS:g} ms (p50), serves after at most {LONGEST_START_S:g} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())

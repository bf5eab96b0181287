"""``python -m bench.gateway [part …]``: all parts by default; see ``measurements.PARTS``."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bench.gateway.figures import figures_of, machine, tables_of
from bench.gateway.measurements import PARTS, STEPS, Row, Testbed

RESULT = Path("build/bench/gateway.json")
OPEN_FILES = 8192
WIDTH = 170


def main(names: list[str]) -> int:
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        console.print(f"unknown part {', '.join(unknown)}; known are {', '.join(PARTS)}")
        return 2
    chosen = names or list(PARTS)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, OPEN_FILES), most))
    rows: list[Row] = []
    columns = (
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with tempfile.TemporaryDirectory() as folder, Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=sum(STEPS[name] for name in chosen))

        def step(what: str) -> None:
            progress.update(task, description=what, advance=1)

        for name in chosen:
            with ExitStack() as stack:  # each part has its own processes, so that none costs another anything
                part = Path(folder) / name
                part.mkdir()
                rows += PARTS[name](Testbed.start(stack, part), step)
    figures = figures_of(rows)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps({**figures, "machine": machine(), "rows": rows}, indent=1) + "\n")
    for table in tables_of(rows, figures):
        console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

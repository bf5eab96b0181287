"""``python -m bench [name …]``: run the benchmarks, all by default.

That of the quota takes longer and is called by itself: ``python -m bench.quota``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from bench import calls

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path("build/bench")
BENCHMARKS: dict[str, Callable[[], dict[str, float]]] = {"calls": calls.measure}


def main(names: list[str]) -> int:
    console = Console()
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        console.print(f"unknown benchmark {', '.join(unknown)}; known are {', '.join(BENCHMARKS)}")
        return 2
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in names or BENCHMARKS:
        figures = BENCHMARKS[name]()
        (FOLDER / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
        table = Table("figure", "value", title=name)
        for figure, value in figures.items():
            table.add_row(figure, f"{value:,.3f}")
        console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

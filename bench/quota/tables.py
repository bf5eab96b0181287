"""Rows and verdicts as tables for the terminal."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from rich.table import Table

from derivfleet.simulator.core.windows import WindowKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.quota.figures import Row
    from bench.quota.verdicts import Verdict

__all__ = ["table_of_rows", "table_of_verdicts"]


def table_of_rows(rows: Iterable[Row]) -> Table:
    """One line a row; windows of one day that agree share a line."""
    table = Table(title="virtual days")
    for column in ("design", "dialect", "class", "demand", "window"):
        table.add_column(column, no_wrap=True)
    for column in ("bots", "used", "refused", "Jain", "lent", "exits wait ms", "60 exits s", "decision µs"):
        table.add_column(column, justify="right", no_wrap=True)
    for (names, figures), alike in groupby(rows, key=_cells):
        windows = [row.window for row in alike]
        window = "all" if len(windows) == len(WindowKind) else ", ".join(windows)
        table.add_row(*names, window, *figures)
    return table


def _cells(row: Row) -> tuple[tuple[str, ...], tuple[str, ...]]:
    figures = (
        f"{row.bots:,}",
        f"{row.utilisation:.4f}",
        f"{row.refused:,}",
        _cell(row.jain, 4),
        _cell(row.idle_share_lent, 4),
        f"{row.exit_wait_p99_ms:,.0f}",
        _cell(row.exit_burst_s, 2),
        _cell(row.decision_us, 1),
    )
    return (row.design, row.dialect, row.bucket, row.demand), figures


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def table_of_verdicts(verdicts: Iterable[Verdict]) -> Table:
    """What the fleet's design must reach, and the worst that it did."""
    table = Table("the fleet's design", "must be", "worst", "", "where", title="verdicts")
    for verdict in verdicts:
        mark = "met" if verdict.met else "NOT MET"
        table.add_row(verdict.what, verdict.bound, f"{verdict.worst:.4g}", mark, verdict.where)
    return table

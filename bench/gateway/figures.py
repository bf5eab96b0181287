"""From rows to the few figures that matter, and both as tables."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Any

import grpc
from rich.table import Table

from bench.gateway.measurements import CLIENTS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.gateway.measurements import Row

__all__ = ["figures_of", "machine", "tables_of"]

COLUMNS = (
    ("calls_per_s", "calls/s", "{:,.0f}"),
    ("ratio_to_echo", "of echo", "{:.2f}"),
    ("server_cpu_us", "server µs/call", "{:,.0f}"),
    ("server_cores", "server cores", "{:.2f}"),
    ("p50_ms", "p50 ms", "{:.2f}"),
    ("p99_ms", "p99 ms", "{:.2f}"),
    ("added_p50_ms", "added p50", "{:+.2f}"),
    ("added_p99_ms", "added p99", "{:+.2f}"),
    ("each_p99_ms", "each p99 ms", "{:.1f}"),
    ("last_p50_ms", "last p50 ms", "{:.1f}"),
    ("last_p99_ms", "last p99 ms", "{:.1f}"),
    ("memory_mb", "memory MB", "{:.0f}"),
)


def machine() -> dict[str, Any]:
    """Where it was measured."""
    return {
        "cores": os.cpu_count(),
        "load_1_min": os.getloadavg()[0],
        "python": platform.python_version(),
        "grpc": grpc.__version__,
    }


def _of(rows: Iterable[Row], part: str) -> list[Row]:
    return [row for row in rows if row["part"].startswith(part)]


def figures_of(rows: list[Row]) -> dict[str, Any]:
    """The figures of what was measured. Of several kinds of calls and numbers of clients, the worst speaks."""
    figures: dict[str, Any] = {}
    echo = {row["clients"]: row["calls_per_s"] for row in _of(rows, "echo")}
    if echo:
        most = max(CLIENTS)
        figures["echo_rps"] = echo[most]
        for kind in ("cached", "refused"):
            own = _of(rows, kind)
            figures[f"{kind}_rps"] = min(row["calls_per_s"] for row in own if row["clients"] == most)
            figures[f"{kind}_of_echo"] = min(row["ratio_to_echo"] for row in own)
    full = [row for row in rows if row["part"] == "full path gateway"]
    if full:
        figures["added_ms"] = {p: max(row[f"added_{p}_ms"] for row in full) for p in ("p50", "p99")}
    many = [row for row in rows if "bots: ticks" in row["part"]]
    if many:
        figures["memory_mb"] = many[0]["memory_mb"]
        figures["fanout_p99_ms"] = many[0]["each_p99_ms"]
        figures["fanout_last_p99_ms"] = many[0]["last_p99_ms"]
    calm = {row["part"]: row["p99_ms"] for row in _of(rows, "calm bot")}
    if calm:
        figures["calm_p99_ms"] = calm
    return figures


REQUIRED = (
    ("cached_of_echo", "cached reads, of the echo's calls", "at least", 0.5),
    ("refused_of_echo", "refusals, of the echo's calls", "at least", 0.5),
    ("added_ms.p50", "full path adds, p50 ms", "at most", 2.0),
    ("added_ms.p99", "full path adds, p99 ms", "at most", 10.0),
    ("memory_mb", "gateway with 1,000 bots, MB", "at most", 150.0),
    ("fanout_p99_ms", "a tick until one of 1,000 streams has it, p99 ms", "at most", 50.0),
)


def _figure(figures: dict[str, Any], name: str) -> float | None:
    name, _, part = name.partition(".")
    found: Any = figures.get(name)
    return found[part] if part and found is not None else found


def tables_of(rows: list[Row], figures: dict[str, Any]) -> list[Table]:
    """All rows, then the figures beside what is asked of them."""
    shown = [column for column in COLUMNS if any(column[0] in row for row in rows)]
    table = Table(title="gateway")
    table.add_column("", no_wrap=True)
    for title in ("clients", *(title for _, title, _ in shown)):
        table.add_column(title, justify="right")
    table.add_column("outcomes", no_wrap=True)
    for row in rows:
        cells = (form.format(row[key]) if key in row else "" for key, _, form in shown)
        outcomes = ", ".join(f"{count} {name}" for name, count in row.get("outcomes", {}).items())
        table.add_row(row["part"], str(row.get("clients", "")), *cells, outcomes)
    verdict = Table("figure", "measured", "asked", "", title="asked of it")
    for name, title, how, bound in REQUIRED:
        value = _figure(figures, name)
        if value is not None:
            met = value >= bound if how == "at least" else value <= bound
            verdict.add_row(title, f"{value:.2f}", f"{how} {bound:g}", "met" if met else "NOT MET")
    return [table, verdict]

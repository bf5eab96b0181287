"""What a run came to, for people: a table of the bots, and lines of what it does not say. Pure."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.table import Table

from derivfleet.cli.money import money
from derivfleet.cli.run.environments import bot_of

if TYPE_CHECKING:
    from rich.console import RenderableType

    from derivfleet.cli.run.summary import MemorySummary, RunSummary

__all__ = ["summary_lines", "summary_table"]


def summary_table(summary: RunSummary) -> Table:
    """The summary for people."""
    title = f"{summary.fleet} on {summary.account}: {summary.duration_s:.0f} s"
    table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
    table.add_column("bot", overflow="fold")
    for name in ("calls", "buys", "settled", "wins", "profit", "errors", "p50 ms", "p99 ms"):
        table.add_column(name, justify="right", no_wrap=True)
    total: Counter[str] = Counter()
    for bot in summary.bots:
        counts = Counter({name: int(getattr(bot, name)) for name in ("ops", "buys", "settled", "wins", "errors")})
        total.update(counts)
        times = ("-" if value is None else f"{value:.0f}" for value in (bot.latency_ms.p50, bot.latency_ms.p99))
        table.add_row(bot.bot, *_cells(counts, bot.profit), *times)
    table.add_section()
    table.add_row("fleet", *_cells(total, summary.profit), "", "", style="bold")
    return table


def _cells(counts: Counter[str], profit: str) -> list[RenderableType]:
    numbers = [str(counts[name]) for name in ("ops", "buys", "settled", "wins")]
    return [*numbers, money(Decimal(profit)), str(counts["errors"])]


def summary_lines(summary: RunSummary) -> list[str]:
    """What the table does not say, one line each."""
    quota = summary.quota
    fullest = max(quota.utilisation_by_window.items(), key=lambda item: item[1], default=None)
    used = f"at most {fullest[1]:.0%} of a limit ({fullest[0]})" if fullest and fullest[1] else "no limit touched"
    refused = f"{quota.rejected_by_deriv} calls refused by Deriv for rate"
    ledger = {
        True: "matches to the cent",
        False: f"DOES NOT MATCH: {summary.ledger_reason}",
        None: "none to compare with",
    }
    first = "none" if summary.seconds_to_first_trade is None else f"after {summary.seconds_to_first_trade:.1f} s"
    lines = [f"quota: {used}, {refused}", f"first settled trade: {first}; ledger: {ledger[summary.ledger_match]}"]
    if summary.memory is not None:
        lines.append(_memory_line(summary.memory, {bot.bot for bot in summary.bots}))
    codes: Counter[str] = Counter()
    for bot in summary.bots:
        codes.update(bot.denied_by_code)
    if codes:
        why = ", ".join(f"{count} {code}" for code, count in codes.most_common())
        lines.append(f"denied by the gateway itself, before Deriv saw the order: {why}; no money moved")
    if still_open := sum(bot.open for bot in summary.bots):
        later = "" if summary.simulated else "; the gateway takes them up again when it next starts"
        lines.append(f"orders not settled when the run ended: {still_open}{later}")
    if summary.restarts:
        lines.append("restarts: " + ", ".join(f"{name} {count}" for name, count in summary.restarts.items()))
    return lines


def _memory_line(memory: MemorySummary, bots: set[str]) -> str:
    processes = [size_mb for name, size_mb in memory.by_process_mb.items() if bot_of(name) in bots]
    largest = f", the largest bot {max(processes):.0f} MB" if processes else ""
    return f"memory of all processes: at most {memory.total_mb:.0f} MB{largest}"

"""A report as a terminal, Markdown, HTML or CSV shows it. Pure."""

from __future__ import annotations

import csv
import html
import io
from typing import TYPE_CHECKING

from rich.table import Table

from derivfleet.cli.reports.tables import PHASES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from derivfleet.cli.reports.tables import ReportTable
    from derivfleet.v1 import reports_pb2

__all__ = ["csv_of", "html_of", "markdown_of", "report_screen"]

_SEEN = ("orders_in_feed", "orders_traced", "traces_without_order", "orders_unknown", "orders_doubtful")


def report_screen(tables: Iterable[ReportTable]) -> Iterable[RenderableType]:
    """For a terminal."""
    for number, table in enumerate(tables):
        yield table.title if not number else f"[bold]{table.title}[/bold]"
        yield from table.lines
        if table.rows:
            drawn = Table(show_edge=False, pad_edge=False)
            for column, name in enumerate(table.head):
                is_text = column == 0 or column >= len(table.head) - table.texts
                drawn.add_column(name, justify="left" if is_text else "right", overflow="fold")
            for row in table.rows:
                drawn.add_row(*row, style="bold" if row[0] == "fleet" else None)
            yield drawn
        yield ""


def markdown_of(tables: Iterable[ReportTable]) -> str:
    """For a page in Markdown."""
    parts: list[str] = []
    for number, table in enumerate(tables):
        parts.append(f"{'##' if number else '#'} {table.title}\n")
        parts += [f"{line}\n" for line in table.lines]
        if table.rows:
            right = ["---"] + ["---:"] * (len(table.head) - 1 - table.texts) + ["---"] * table.texts
            drawn = [table.head, tuple(right), *table.rows]
            parts.append("".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in drawn))
    return "\n".join(parts)


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1b1f24}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem}th,td{padding:.25rem .7rem;border-bottom:1px solid #d8dde3;"
    "text-align:right}th:first-child,td:first-child,.text{text-align:left}h1{font-size:1.25rem}h2{font-size:1.05rem}"
    "@media(prefers-color-scheme:dark){body{background:#14171a;color:#e4e7ea}th,td{border-color:#343a40}}"
)


def html_of(tables: Iterable[ReportTable]) -> str:
    """One page that needs nothing else."""
    parts: list[str] = []
    title = ""
    for number, table in enumerate(tables):
        title = title or table.title
        level = 2 if number else 1
        parts.append(f"<h{level}>{html.escape(table.title)}</h{level}>")
        parts += [f"<p>{html.escape(line)}</p>" for line in table.lines]
        if table.rows:
            marks = [" class=text" if at >= len(table.head) - table.texts else "" for at in range(len(table.head))]
            head = "".join(
                f"<th scope=col{mark}>{html.escape(name)}</th>" for name, mark in zip(table.head, marks, strict=True)
            )
            body = "".join(
                "<tr>"
                + "".join(f"<td{mark}>{html.escape(cell)}</td>" for cell, mark in zip(row, marks, strict=True))
                + "</tr>"
                for row in table.rows
            )
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )


def csv_of(report: reports_pb2.Report) -> str:
    """One line a bot and one for the fleet, for spreadtables: plain numbers, the same columns in every report."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    phases = [f"{phase}_{rank}_ms" for phase in PHASES for rank in ("p50", "p95", "p99")]
    head = "account,kind,start_epoch_s,end_epoch_s,state,revision,bot,calls,buys,settled,wins,win_rate,win_rate_low"
    head += ",win_rate_high,staked,profit,profit_per_hour,drawdown,mean_exposure,peak_exposure,uptime,errors"
    writer.writerow([*head.split(","), *phases, *_SEEN])
    seen = report.completeness
    for bot in (*report.bots, report.fleet):
        one = bot.profit_and_loss
        found = {phase.phase: phase for phase in bot.phases}
        times = [
            f"{value:.3f}"
            for phase in PHASES
            for value in (
                (found[phase].p50_ms, found[phase].p95_ms, found[phase].p99_ms) if phase in found else (0, 0, 0)
            )
        ]
        is_fleet = bot is report.fleet
        errors = sum(error.count for error in bot.errors)
        writer.writerow([
            report.account, report.kind, report.start_epoch_s, report.end_epoch_s, report.state, report.revision,
            "" if is_fleet else bot.bot, bot.ops, bot.buys, bot.settled, bot.wins, f"{bot.win_rate:.4f}",
            f"{one.win_rate_low:.4f}", f"{one.win_rate_high:.4f}", bot.staked, bot.profit, one.profit_per_hour,
            one.drawdown, one.mean_exposure, one.peak_exposure, f"{bot.uptime:.4f}", errors,
            *times,
            *(getattr(seen, name) if is_fleet else "" for name in _SEEN),
        ])  # fmt: skip
    return out.getvalue()

"""A report as lines and tables of text, and those as a terminal, Markdown, HTML or CSV shows them."""

from __future__ import annotations

import csv
import html
import io
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rich.table import Table

from derivfleet.cli.watch import decimal_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from derivfleet.v1 import reports_pb2

__all__ = ["Sheet", "csv_of", "html_of", "markdown_of", "screen_of", "sheets_of"]

PHASES = ("decide", "queue", "upstream", "buy", "settle")
"""Where the time goes, as the contract names it."""
_PLAIN_MS = 10
"""From here on, tenths of a millisecond tell nothing."""
_MONEY = (
    "buys", "settled", "wins", "win rate (95 %)", "staked", "profit", "profit/h", "drawdown", "exposure mean/peak"
)  # fmt: skip
_SEEN = ("orders_in_feed", "orders_traced", "traces_without_order", "orders_unknown", "orders_doubtful")


@dataclass(frozen=True, slots=True)
class Sheet:
    """A title, lines of text, and a table whose first column are names; the last ``texts`` columns are text too."""

    title: str
    lines: list[str] = field(default_factory=list[str])
    head: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    texts: int = 0


def sheets_of(answer: reports_pb2.GetReportResponse) -> list[Sheet]:
    """Everything that a report says, and what it is compared with if that was asked for."""
    report = answer.report
    sheets = [Sheet(heading_of(report)), _bots(report)]
    if answer.HasField("before"):
        sheets.append(_comparison(answer))
    for title, parts in (("by symbol", report.symbols), ("by strategy", report.strategies)):
        if parts:
            sheets.append(
                Sheet(title, head=(title.removeprefix("by "), *_MONEY), rows=[_profit_and_loss(one) for one in parts])
            )
    sheets += [
        _times(report),
        _waits(report),
        Sheet("limits", [_limits(report)]),
        Sheet("what this did not see", _unseen(report)),
    ]
    return [sheet for sheet in sheets if sheet.lines or sheet.rows or sheet.title == sheets[0].title]


def heading_of(report: reports_pb2.Report) -> str:
    """Account, period, and how final it is."""
    zone = ZoneInfo(report.time_zone or "UTC")
    start, end, filled = (
        datetime.fromtimestamp(epoch_s, zone)
        for epoch_s in (report.start_epoch_s, report.end_epoch_s, report.filled_to_epoch_s)
    )
    until = f"{end:%H:%M:%S}" if end.date() == start.date() else f"{end:%Y-%m-%d %H:%M:%S}"
    state = f", {report.state}" if report.state else ""
    if report.revision > 1:
        state += f" (revision {report.revision}: late news changed it)"
    to = "" if report.filled_to_epoch_s >= report.end_epoch_s else f", filled to {filled:%H:%M:%S}"
    return f"{report.account}: {start:%Y-%m-%d %H:%M:%S} to {until} {report.time_zone or 'UTC'}{state}{to}"


def _bots(report: reports_pb2.Report) -> Sheet:
    rows: list[tuple[str, ...]] = []
    for bot in (*report.bots, report.fleet):
        errors = ", ".join(f"{error.code} {error.count}" for error in bot.errors)
        name = "fleet" if bot is report.fleet else bot.bot
        rows.append((name, str(bot.ops), *_profit_and_loss(bot.profit_and_loss, bot)[1:], f"{bot.uptime:.0%}", errors))
    return Sheet("bots", head=("bot", "calls", *_MONEY, "heard of", "errors"), rows=rows, texts=1)


def _profit_and_loss(one: reports_pb2.ProfitAndLoss, bot: reports_pb2.BotReport | None = None) -> tuple[str, ...]:
    of = bot or one
    rate = f"{of.win_rate:.0%}"
    if one.settled:
        rate += f" ({one.win_rate_low:.0%}–{one.win_rate_high:.0%})"
    return (
        one.name,
        str(of.buys),
        str(of.settled),
        str(of.wins),
        rate,
        f"{decimal_of(of.staked):.2f}",
        f"{decimal_of(of.profit):+.2f}",
        f"{decimal_of(one.profit_per_hour):+.2f}",
        f"{decimal_of(one.drawdown):.2f}",
        f"{decimal_of(one.mean_exposure):.2f}/{decimal_of(one.peak_exposure):.2f}",
    )


def _told(report: reports_pb2.Report) -> dict[str, str]:
    seen, fleet = report.completeness, report.fleet
    return {
        "began": heading_of(report).partition(": ")[2][:16],
        "calls": str(fleet.ops),
        "buys": str(fleet.buys),
        "settled": str(fleet.settled),
        "win rate (95 %)": _profit_and_loss(fleet.profit_and_loss, fleet)[4],
        "staked": f"{decimal_of(fleet.staked):.2f}",
        "profit": f"{decimal_of(fleet.profit):+.2f}",
        "drawdown": f"{decimal_of(fleet.profit_and_loss.drawdown):.2f}",
        "refused for rate": str(report.rejected_by_deriv),
        "orders without a trace": str(seen.orders_in_feed - seen.orders_traced),
    }


def _comparison(answer: reports_pb2.GetReportResponse) -> Sheet:
    reports = [answer.report, answer.before]
    if answer.day_before.start_epoch_s != answer.before.start_epoch_s:
        reports.append(answer.day_before)
    names = ("this", "the one before", "the day before")[: len(reports)]
    if answer.report.kind == "day":
        names = ("this day", "the day before")
    told = [_told(one) for one in reports]
    rows: list[tuple[str, ...]] = [(label, *(one[label] for one in told)) for label in told[0]]
    known = {bot.bot: bot for bot in answer.before.bots}
    for bot in answer.report.bots:
        if bot.settled or (bot.bot in known and known[bot.bot].settled):
            profits = [
                next((decimal_of(other.profit) for other in one.bots if other.bot == bot.bot), decimal_of(""))
                for one in reports
            ]
            rows.append((f"profit of {bot.bot}", *(f"{profit:+.2f}" for profit in profits)))
    return Sheet("compared", head=("", *names), rows=rows)


def _times(report: reports_pb2.Report) -> Sheet:
    rows: list[tuple[str, ...]] = []
    for bot in (*report.bots, report.fleet):
        found = {one.phase: "/".join(map(_ms, (one.p50_ms, one.p95_ms, one.p99_ms))) for one in bot.phases if one.count}
        if found:
            name = "fleet" if bot is report.fleet else bot.bot
            rows.append((name, *(found.get(phase, "-") for phase in PHASES)))
    title = f"times (to {report.relative_error:.0%})" if report.relative_error else "times"
    return Sheet(title, head=("p50/p95/p99 ms", *PHASES), rows=rows)


def _waits(report: reports_pb2.Report) -> Sheet:
    lines = [one.text for one in report.bottlenecks] or ["no bot waited for 1 % of the time"]
    rows = [
        (bot.bot, wait.cause, str(wait.count), f"{wait.total_s:.1f}", _ms(wait.p50_ms), _ms(wait.p95_ms))
        for bot in report.bots
        for wait in bot.waits
    ]
    return Sheet("waits", lines, ("bot", "for", "calls", "seconds", "p50 ms", "p95 ms"), rows)


def _limits(report: reports_pb2.Report) -> str:
    uses = ", ".join(f"{use.bucket} {use.calls} calls ({use.share_of_limit:.1%})" for use in report.quota)
    saved = ", ".join(f"{one.kind} {one.calls}" for one in report.calls_saved)
    return (
        f"share of Deriv's limits: {uses or 'none used'}; refused by Deriv for rate: {report.rejected_by_deriv}; "
        f"calls saved: {saved or 'none'}"
    )


def _unseen(report: reports_pb2.Report) -> list[str]:
    seen = report.completeness
    state = "connected" if seen.feed_connected else "NOT CONNECTED"
    orders = (
        f"seen: {seen.orders_in_feed} settled orders, {seen.orders_traced} of them traced, profit of the others "
        f"{seen.profit_untraced or '0'} (staked {seen.staked_untraced or '0'}); {seen.traces_without_order} traces "
        f"without order, profit {seen.profit_without_order or '0'} (staked {seen.staked_without_order or '0'}), "
        f"which is not in the sums; order feed {state}, {seen.feed_lag_s:.1f} s behind"
    )
    spans = (
        f"{seen.spans} spans, {seen.spans_late} of them late, {seen.spans_ahead} from clocks ahead "
        f"(by {seen.max_ahead_s:.1f} s at most); since the service started: {seen.spans_refused} refused, "
        f"{seen.spans_deferred} told to come again, {seen.events_refused} events of the feed refused"
    )
    lines = [orders, spans]
    if seen.orders_unknown:
        lines.append(
            f"{seen.orders_unknown} orders of which nobody knows yet whether they bought, staked {seen.staked_unknown} "
            f"(in the exposure and in no other sum); {seen.orders_doubtful} of them wait for you: "
            "derivfleet orders --unknown"
        )
    if seen.spans_sampled:
        lines.append(
            f"{seen.spans_sampled} spans are a sample that stands for {seen.spans_represented}: calls and times are "
            "estimates, and orders without a trace may be left out on purpose; money is not sampled"
        )
    return lines


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= _PLAIN_MS or not value else f"{value:.1f}"


def screen_of(sheets: Iterable[Sheet]) -> Iterable[RenderableType]:
    """For a terminal."""
    for number, sheet in enumerate(sheets):
        yield sheet.title if not number else f"[bold]{sheet.title}[/bold]"
        yield from sheet.lines
        if sheet.rows:
            table = Table(show_edge=False, pad_edge=False)
            for column, name in enumerate(sheet.head):
                is_text = column == 0 or column >= len(sheet.head) - sheet.texts
                table.add_column(name, justify="left" if is_text else "right", overflow="fold")
            for row in sheet.rows:
                table.add_row(*row, style="bold" if row[0] == "fleet" else None)
            yield table
        yield ""


def markdown_of(sheets: Iterable[Sheet]) -> str:
    """For a page in Markdown."""
    parts: list[str] = []
    for number, sheet in enumerate(sheets):
        parts.append(f"{'##' if number else '#'} {sheet.title}\n")
        parts += [f"{line}\n" for line in sheet.lines]
        if sheet.rows:
            right = ["---"] + ["---:"] * (len(sheet.head) - 1 - sheet.texts) + ["---"] * sheet.texts
            table = [sheet.head, tuple(right), *sheet.rows]
            parts.append("".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in table))
    return "\n".join(parts)


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1b1f24}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem}th,td{padding:.25rem .7rem;border-bottom:1px solid #d8dde3;"
    "text-align:right}th:first-child,td:first-child,.text{text-align:left}h1{font-size:1.25rem}h2{font-size:1.05rem}"
    "@media(prefers-color-scheme:dark){body{background:#14171a;color:#e4e7ea}th,td{border-color:#343a40}}"
)


def html_of(sheets: Iterable[Sheet]) -> str:
    """One page that needs nothing else."""
    parts: list[str] = []
    title = ""
    for number, sheet in enumerate(sheets):
        title = title or sheet.title
        level = 2 if number else 1
        parts.append(f"<h{level}>{html.escape(sheet.title)}</h{level}>")
        parts += [f"<p>{html.escape(line)}</p>" for line in sheet.lines]
        if sheet.rows:
            marks = [" class=text" if at >= len(sheet.head) - sheet.texts else "" for at in range(len(sheet.head))]
            head = "".join(
                f"<th scope=col{mark}>{html.escape(name)}</th>" for name, mark in zip(sheet.head, marks, strict=True)
            )
            body = "".join(
                "<tr>"
                + "".join(f"<td{mark}>{html.escape(cell)}</td>" for cell, mark in zip(row, marks, strict=True))
                + "</tr>"
                for row in sheet.rows
            )
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style><body>{''.join(parts)}</body></html>\n"
    )


def csv_of(report: reports_pb2.Report) -> str:
    """One line a bot and one for the fleet, for spreadsheets: plain numbers, the same columns in every report."""
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

"""Quota on a terminal: bars of the windows, shares with their loans, what waits and what was saved. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from derivfleet.cli.run.fleet_status import utilisation_of, window_name
from derivfleet.common.clock import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

    from derivfleet.v1 import control_pb2, quota_pb2

__all__ = [
    "LEGEND",
    "begin_of",
    "cells_of",
    "gauge",
    "quota_bars",
    "quota_line",
    "quota_screen",
    "savings_of",
    "troubled_breaker",
    "wait_of",
]

_FULL, _BUSY = 0.95, 0.7
_USED, _RESERVED, _FREE, _BEYOND = "█", "▒", "─", "·"
LEGEND = f"{_USED} used  {_RESERVED} kept for exits and reconciling  {_FREE} free  {_BEYOND} Deriv's, not used"
_BAR_WIDTH, _SHORT_BAR_WIDTH = 16, 8
_BARS_ROOMY = 80
"""Below this width the bars of two windows do not fit side by side at their full length."""
_TABLE_BAR_WIDTH, _SHORT_TABLE_BAR_WIDTH = 32, 10
_TABLE_ROOMY = 112
"""Below this width the table's bars are short, and a bot's row tells of the shortest window alone."""
_HEAD_ROWS = 2
"""Of a table: the names, and the line below them."""


def cells_of(parts: Sequence[int], width: int) -> list[int]:
    """Divide ``width`` cells, at least one a part, in proportion; what is above 0 has one cell at least."""
    total = sum(parts)
    if not total:
        return [0] * len(parts)
    cells = [min(part, 1) for part in parts]
    spare = width - sum(cells)
    exact = [part * spare / total for part in parts]
    cells = [cell + floor(share) for cell, share in zip(cells, exact, strict=True)]
    for index in sorted(range(len(parts)), key=lambda one: floor(exact[one]) - exact[one])[: width - sum(cells)]:
        cells[index] += 1
    return cells


def gauge(window: quota_pb2.QuotaWindow, width: int) -> Text:
    """One window as a bar of what Deriv allows: used, reserved, free, and what the gateway leaves alone."""
    free = max(0, window.limit - window.used - window.reserved)
    beyond = max(0, window.deriv_limit - window.used - window.reserved - free)
    used, reserved, left, rest = cells_of((window.used, window.reserved, free, beyond), width)
    share = utilisation_of(window)
    style = "red" if share >= _FULL else "yellow" if share >= _BUSY else "green"
    return Text.assemble(
        (_USED * used, style), (_RESERVED * reserved, "magenta"), (_FREE * left, "dim"), (_BEYOND * rest, "dim")
    )


def quota_bars(windows: Iterable[quota_pb2.QuotaWindow], width: int = _BARS_ROOMY) -> Table:
    """How full each window of the account's limits is: a row a bucket, the shorter window first."""
    buckets: dict[str, list[quota_pb2.QuotaWindow]] = {}
    for window in windows:
        buckets.setdefault(window.bucket, []).append(window)
    length = _BAR_WIDTH if width >= _BARS_ROOMY else _SHORT_BAR_WIDTH
    table = Table.grid(padding=(0, 1))
    for bucket, linked in buckets.items():
        cells: list[RenderableType] = [bucket]
        for window in sorted(linked, key=lambda one: one.window_s):
            cells += [f" {window.window_s}s", gauge(window, length), f"{window.used}/{window.deriv_limit}"]
        table.add_row(*cells)
    return table


def quota_line(account: control_pb2.AccountStatus) -> Text:
    """What bars do not show: loans and waiting calls of the shortest windows, and what was saved; empty if nothing."""
    shortest: dict[str, int] = {}
    for share in account.shares:
        shortest[share.bucket] = min(share.window_s, shortest.get(share.bucket, share.window_s))
    shares = [share for share in account.shares if share.window_s == shortest[share.bucket]]
    facts: list[str] = []
    for bucket, window_s in shortest.items():
        borrowed = sum(share.borrowed for share in shares if share.bucket == bucket)
        if borrowed:
            facts.append(f"{borrowed} of {bucket}/{window_s}s borrowed")
    if waiting := sum(share.waiting for share in shares):
        facts.append(f"{waiting} waiting")
    if saved := sum(one.calls for one in account.calls_saved):
        facts.append(f"{saved} calls saved")
    return Text(" · ".join(facts), style="dim", no_wrap=True, overflow="ellipsis")


def savings_of(saved: Sequence[quota_pb2.CallsSaved]) -> str:
    """As ``129 calls saved: history 120, ticks 9``."""
    total = sum(one.calls for one in saved)
    if not total:
        return "no calls saved yet"
    kinds = sorted((one for one in saved if one.calls), key=lambda one: -one.calls)
    return f"{total} calls saved: " + ", ".join(f"{one.kind} {one.calls}" for one in kinds)


def troubled_breaker(account: control_pb2.AccountStatus, time_ns: int) -> str:
    """Why no orders are opened, as ``breaker open, tried again in 4 s: …``; empty if they are."""
    breaker = account.breaker
    if breaker.state in ("", "closed"):
        return ""
    left_s = (breaker.retry_time_ns - time_ns) / NS_PER_S
    again = f", tried again in {left_s:.0f} s" if breaker.state == "open" and left_s > 0 else ""
    return f"breaker {breaker.state.replace('_', ' ')}{again}" + (f": {breaker.reason}" if breaker.reason else "")


def begin_of(forecast: quota_pb2.Forecast) -> str:
    """When a call could start and what makes it wait, as ``now`` or ``in 1.2 s (60s)``."""
    binding = forecast.binding_window.removeprefix(f"{forecast.bucket}/")
    return wait_of(forecast) + (f" ({binding})" if forecast.wait_ms and binding else "")


def wait_of(forecast: quota_pb2.Forecast) -> str:
    """When a call could start, as ``now`` or ``in 1.2 s``."""
    return f"in {forecast.wait_ms / 1000:.1f} s" if forecast.wait_ms > 0 else "now"


@dataclass(frozen=True, slots=True)
class _Row:
    """One bot in one bucket; its windows begin with the shortest, whose loans are told."""

    bucket: str
    bot: str
    windows: tuple[quota_pb2.QuotaShare, ...]
    forecast: quota_pb2.Forecast | None

    @property
    def waiting(self) -> int:
        return self.windows[0].waiting

    @property
    def activity(self) -> tuple[int, int]:
        return self.waiting, max(share.used for share in self.windows)

    @property
    def loan(self) -> Text:
        short = self.windows[0]
        if short.borrowed:
            return Text(f"borrows {short.borrowed}", style="cyan")
        return Text(f"lends {short.lent}", style="magenta") if short.lent else Text("-", style="dim")

    @property
    def next_call(self) -> str:
        return "" if self.forecast is None else begin_of(self.forecast)


def quota_screen(
    answer: control_pb2.GetStatusResponse, bot: str, width: int, height: int | None = None
) -> list[RenderableType]:
    """Quota for people, for a screen so many characters wide; with a height, the idlest bots are cut to fit it."""
    parts: list[RenderableType] = []
    for account in answer.accounts:
        room = None if height is None else height // len(answer.accounts)
        parts += _account(account, bot, answer.time_ns, width, room)
    return [*parts, Text(LEGEND, style="dim")]


def _account(
    account: control_pb2.AccountStatus, bot: str, time_ns: int, width: int, height: int | None
) -> list[RenderableType]:
    breaker = troubled_breaker(account, time_ns)
    head = Text.assemble(
        f"{account.account}: {account.calls_sent} calls sent, ",
        (f"{account.rejected_by_deriv} refused by Deriv for rate", "red" if account.rejected_by_deriv else ""),
        f"; {savings_of(account.calls_saved)}",
        (f"; {breaker}" if breaker else "", "bold yellow"),
    )
    windows = _windows(account, width)
    rows = _rows(account, bot)
    if not rows:
        return [head, windows]
    most = None
    if height is not None:
        taken = len(head) // width + 1 + windows.row_count + _HEAD_ROWS + _HEAD_ROWS + 1
        most = max(2, height - taken - len({row.bucket for row in rows}))
    return [head, windows, Text(), _bots(rows, width, most)]


def _windows(account: control_pb2.AccountStatus, width: int) -> Table:
    is_roomy = width >= _TABLE_ROOMY
    table = Table(show_edge=False, pad_edge=False)
    for name in ("bucket", "window", ""):
        table.add_column(name, no_wrap=True)
    for name in ("used", "kept", "free", *(("ours",) if is_roomy else ()), "Deriv's"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("next call", no_wrap=True)
    length = _TABLE_BAR_WIDTH if is_roomy else _SHORT_TABLE_BAR_WIDTH
    buckets: dict[str, list[quota_pb2.QuotaWindow]] = {}
    for window in account.windows:
        buckets.setdefault(window.bucket, []).append(window)
    for bucket, linked in buckets.items():
        linked.sort(key=lambda one: one.window_s)
        forecasts = [one.forecast for one in account.next_calls if one.forecast.bucket == bucket]
        soonest = min(forecasts, key=lambda one: one.wait_ms, default=None)
        names = [window_name(window) for window in linked]
        begins = "" if soonest is None else begin_of(soonest)
        # What binds is mostly a window, and then its row says so.
        if soonest is not None and soonest.binding_window in names:
            at, begins = names.index(soonest.binding_window), wait_of(soonest)
        else:
            at = 0
        for number, window in enumerate(linked):
            table.add_row(
                bucket if window is linked[0] else "",
                f"{window.window_s}s",
                gauge(window, length),
                str(window.used),
                str(window.reserved),
                str(max(0, window.limit - window.used - window.reserved)),
                *((str(window.limit),) if is_roomy else ()),
                str(window.deriv_limit),
                begins if number == at else "",
            )
    return table


def _rows(account: control_pb2.AccountStatus, bot: str) -> list[_Row]:
    """One bot's rows, or those of the buckets that bots make calls in now."""
    windows: dict[tuple[str, str], list[quota_pb2.QuotaShare]] = {}
    for share in account.shares:
        windows.setdefault((share.bucket, share.bot), []).append(share)
    forecasts = {(one.forecast.bucket, one.bot): one.forecast for one in account.next_calls}
    rows = [
        _Row(*key, tuple(sorted(shares, key=lambda one: one.window_s)), forecasts.get(key))
        for key, shares in windows.items()
    ]
    busy = {row.bucket for row in rows if row.activity > (0, 0)}
    return [row for row in rows if (row.bot == bot if bot else row.bucket in busy)]


def _bots(rows: Sequence[_Row], width: int, most: int | None) -> Table:
    """Calls used of each bot's share in each window, and its loans; if there is room for fewer, who does most."""
    lengths = [share.window_s for share in rows[0].windows][: None if width >= _TABLE_ROOMY else 1]
    table = Table(show_edge=False, pad_edge=False)
    for name in ("bucket", "bot"):
        table.add_column(name, no_wrap=True)
    for name in (*(f"{length}s" for length in lengths), "loan", "waiting"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("next call", no_wrap=True)
    shown = list(rows)
    if most is not None and len(rows) > most:
        busiest = sorted(rows, key=lambda row: row.activity, reverse=True)[: most - 1]
        shown = [row for row in rows if row in busiest]
    before = ""
    for row in shown:
        if before and row.bucket != before:
            table.add_section()
        table.add_row(
            row.bucket if row.bucket != before else "",
            row.bot,
            *(f"{share.used}/{share.share}" for share in row.windows[: len(lengths)]),
            row.loan,
            Text(str(row.waiting), style="yellow" if row.waiting else "dim"),
            row.next_call,
        )
        before = row.bucket
    if more := len(rows) - len(shown):
        table.add_row("", f"and {more} more", style="dim")
    return table

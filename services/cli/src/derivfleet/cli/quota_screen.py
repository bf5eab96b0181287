"""What ``derivfleet quota`` draws: windows with their bars, shares with their loans, savings. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from derivfleet.cli.gauges import LEGEND, begin_of, gauge, savings_of, troubled_breaker, wait_of
from derivfleet.cli.watch import window_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from derivfleet.v1 import control_pb2, quota_pb2

__all__ = ["screen_of"]

_BAR_WIDTH, _SHORT_BAR_WIDTH = 32, 10
_ROOMY = 112
"""Below this width bars are short, and a bot's row tells of the shortest window alone."""
_HEAD_ROWS = 2
"""Of a table: the names, and the line below them."""


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


def screen_of(
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
    is_roomy = width >= _ROOMY
    table = Table(show_edge=False, pad_edge=False)
    for name in ("bucket", "window", ""):
        table.add_column(name, no_wrap=True)
    for name in ("used", "kept", "free", *(("ours",) if is_roomy else ()), "Deriv's"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("next call", no_wrap=True)
    length = _BAR_WIDTH if is_roomy else _SHORT_BAR_WIDTH
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
    lengths = [share.window_s for share in rows[0].windows][: None if width >= _ROOMY else 1]
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

"""What ``derivfleet quota`` draws: windows with their bars, shares with their loans, savings. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from derivfleet.cli.gauges import LEGEND, gauge, savings_of, troubled_breaker, wait_of
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
_ROWS_A_TABLE = 1 + _HEAD_ROWS
"""Beside its bots: its title, its head and the line below that."""


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
    shares = [share for share in account.shares if bot in ("", share.bot)]
    busy = {share.bucket for share in shares if share.used or share.borrowed or share.lent or share.waiting}
    buckets = [name for name in dict.fromkeys(share.bucket for share in shares) if bot or name in busy]
    rows = None
    if height is not None and buckets:
        taken = len(head) // width + 1 + windows.row_count + _HEAD_ROWS + 2
        rows = max(1, (height - taken) // len(buckets) - _ROWS_A_TABLE)
    tables = [_bots(account, name, [one for one in shares if one.bucket == name], width, rows) for name in buckets]
    return [head, windows, *tables]


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
        binding = soonest.binding_window if soonest and soonest.binding_window in names else names[0]
        for window in linked:
            name = window_name(window)
            table.add_row(
                bucket if window is linked[0] else "",
                f"{window.window_s}s",
                gauge(window, length),
                str(window.used),
                str(window.reserved),
                str(max(0, window.limit - window.used - window.reserved)),
                *((str(window.limit),) if is_roomy else ()),
                str(window.deriv_limit),
                wait_of(soonest) if soonest and name == binding else "",
            )
    return table


def _bots(
    account: control_pb2.AccountStatus,
    bucket: str,
    shares: Sequence[quota_pb2.QuotaShare],
    width: int,
    most: int | None,
) -> Table:
    """One bucket's shares, a row a bot: calls used of its share in each window, and its loans."""
    lengths = sorted({share.window_s for share in shares})[: None if width >= _ROOMY else 1]
    by_bot: dict[str, dict[int, quota_pb2.QuotaShare]] = {}
    for share in shares:
        by_bot.setdefault(share.bot, {})[share.window_s] = share
    nexts = {one.bot: one.forecast for one in account.next_calls if one.forecast.bucket == bucket}
    table = Table(title=bucket, title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    table.add_column("bot", no_wrap=True)
    short_s, *longer_s = lengths
    for name in (f"{short_s}s", "borrowed", "lent", *(f"{length}s" for length in longer_s), "waiting"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("next call", no_wrap=True)
    for name in _shown(by_bot, most):
        mine = by_bot[name]
        short = mine[short_s]
        forecast = nexts.get(name)
        binding = forecast.binding_window if forecast is not None and forecast.wait_ms else ""
        table.add_row(
            name,
            f"{short.used}/{short.share}",
            Text(str(short.borrowed), style="cyan" if short.borrowed else "dim"),
            Text(str(short.lent), style="magenta" if short.lent else "dim"),
            *(f"{mine[length].used}/{mine[length].share}" for length in longer_s),
            Text(str(short.waiting), style="yellow" if short.waiting else "dim"),
            "" if forecast is None else f"{wait_of(forecast)} {binding}".rstrip(),
        )
    if more := len(by_bot) - table.row_count:
        table.add_row(f"and {more} more", style="dim")
    return table


def _shown(by_bot: dict[str, dict[int, quota_pb2.QuotaShare]], most: int | None) -> list[str]:
    """All bots in their order; if there is room for fewer, those that do most."""
    if most is None or len(by_bot) <= most:
        return list(by_bot)

    def activity(bot: str) -> tuple[int, int]:
        return sum(one.waiting for one in by_bot[bot].values()), sum(one.used for one in by_bot[bot].values())

    busiest = set(sorted(by_bot, key=activity, reverse=True)[: max(0, most - 1)])
    return [bot for bot in by_bot if bot in busiest]

"""Quota on a terminal: how full a window is, as a bar, and what is lent, waits and was saved, in a line. Pure."""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from derivfleet.cli.watch import utilisation_of
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
    "savings_of",
    "troubled_breaker",
    "wait_of",
]

_FULL, _BUSY = 0.95, 0.7
_USED, _RESERVED, _FREE, _BEYOND = "█", "▒", "─", "·"
LEGEND = f"{_USED} used  {_RESERVED} kept for exits and reconciling  {_FREE} free  {_BEYOND} Deriv's, not used"
_BAR_WIDTH, _SHORT_BAR_WIDTH = 16, 8
_ROOMY = 80
"""Below this width the bars of two windows do not fit side by side at their full length."""


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


def quota_bars(windows: Iterable[quota_pb2.QuotaWindow], width: int = _ROOMY) -> Table:
    """How full each window of the account's limits is: a row a bucket, the shorter window first."""
    buckets: dict[str, list[quota_pb2.QuotaWindow]] = {}
    for window in windows:
        buckets.setdefault(window.bucket, []).append(window)
    length = _BAR_WIDTH if width >= _ROOMY else _SHORT_BAR_WIDTH
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

"""How the fleet is, for a terminal: journal, connections, quota, bots, and the copy at Supabase. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from derivfleet.cli.money import amount, decimal_of, money
from derivfleet.cli.screens.quota import quota_bars, quota_line, troubled_breaker
from derivfleet.common.clock import NS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from derivfleet.v1 import control_pb2, watching_pb2

__all__ = ["copy_line", "status_screen"]

RARE = ("unknown", "doubtful", "found_late")
"""Counts that are seldom other than 0, and are shown only then."""


def copy_line(replication: watching_pb2.GetReplicationResponse | None) -> Text | None:
    """How far the copy at Supabase is, in a line; None if there is none to be."""
    if replication is None:
        return Text("the metrics service does not answer", style="yellow")
    if not replication.enabled:
        return None
    behind = [
        f"{one.table} {one.behind_rows} rows, {one.behind_s:.0f} s" for one in replication.replicas if one.behind_rows
    ]
    refused = sum(one.refused_rows for one in replication.replicas)
    words = f"copy at Supabase: {'behind by ' + '; '.join(behind) if behind else 'up to date'}"
    if refused:
        words += f"; {refused} rows refused"
    if replication.problem:
        words += f"; {replication.problem}, trying again"
    return Text(words, style="yellow" if replication.problem or refused else "")


def status_screen(answer: control_pb2.GetStatusResponse) -> Iterable[RenderableType]:
    """A status for people."""
    if answer.journal.problem:
        waiting = f"; {answer.journal.unwritten} transitions wait for it" if answer.journal.unwritten else ""
        yield Text(f"no orders are opened: {answer.journal.problem}{waiting}", style="red")
    for account in answer.accounts:
        kind = "demo" if account.is_demo else "real"
        yield (
            f"{account.account}: {account.login_id or 'not logged in'} ({kind}, {account.dialect}), "
            f"balance {amount(account.balance)} {account.currency}"
        )
        yield (
            f"{account.calls_sent} calls sent, {account.rejected_by_deriv} refused by Deriv for rate, "
            f"{account.foreign_trades} trades that are not the fleet's"
        )
        connections = Table(show_edge=False, pad_edge=False)
        for name in ("connection", "state", "for", "ping", "reconnects", "problem"):
            connections.add_column(name)
        for one in account.connections:
            since_s = max(0.0, (answer.time_ns - one.since_time_ns) / NS_PER_S)
            ping = f"{one.ping_ms:.0f} ms" if one.ping_ms else "-"
            connections.add_row(one.role, one.state, f"{since_s:.0f} s", ping, str(one.reconnects), one.problem)
        yield connections
        if breaker := troubled_breaker(account, answer.time_ns):
            yield Text(breaker, style="yellow")
        yield quota_bars(account.windows)
        if loans := quota_line(account):
            yield loans
        bots = Table(show_edge=False, pad_edge=False)
        bots.add_column("bot", overflow="fold")
        # What is not known is rare, and it is what one looks for.
        rare = tuple(name for name in RARE if any(getattr(bot, name) for bot in account.bots))
        counts = ("buys", "open", *rare, "settled", "wins")
        for name in ("calls", *counts, "denied", "rejected", "profit", "seen"):
            bots.add_column(name, justify="right")
        for bot in account.bots:
            age_s = (answer.time_ns - bot.last_seen_time_ns) / NS_PER_S
            seen = f"{age_s:.0f} s" if bot.last_seen_time_ns else "never"
            told = (bot.ops, *(getattr(bot, name) for name in counts), bot.denied, bot.errors)
            numbers = [str(value) for value in told]
            bots.add_row(bot.bot, *numbers, money(decimal_of(bot.profit)), seen)
        yield bots

"""Alerts and silences for a terminal. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from derivfleet.cli.messages import utc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from derivfleet.v1 import watching_pb2

__all__ = ["alerts_screen", "silence_line", "whom"]

_TIME = "%Y-%m-%d %H:%M:%S"


def alerts_screen(answer: watching_pb2.ListAlertsResponse) -> Iterable[RenderableType]:
    """Alerts for people."""
    if not answer.rules:
        yield "nothing is watched: the fleet file has no rules under `alerts`"
        return
    told = ", ".join(answer.channels) or "nobody (no webhook or chat is configured)"
    waiting = f"; {answer.untold} notices wait" if answer.untold else ""
    yield f"{len(answer.rules)} rules, told to {told}{waiting}"
    if answer.alerts:
        table = Table(show_edge=False, pad_edge=False)
        for name in ("alert", "bot", "state", "since", "seen", "threshold"):
            table.add_column(name)
        for one in answer.alerts:
            since_ns = one.cleared_time_ns or one.fired_time_ns
            state = "over" if one.cleared_time_ns else "FIRING, silenced" if one.silenced else "FIRING"
            style = None if one.cleared_time_ns else "yellow"
            row = (
                one.rule,
                one.bot or "-",
                state,
                f"{utc(since_ns):{_TIME}}",
                f"{one.value} {one.unit}",
                one.threshold,
            )
            table.add_row(*row, style=style)
        yield table
    else:
        yield "no alert so far"
    for one in answer.silences:
        why = f": {one.reason}" if one.reason else ""
        yield silence_line(one) + why


def silence_line(silence: watching_pb2.Silence) -> str:
    """What is not told, and until when."""
    return f"silent until {utc(silence.until_time_ns):{_TIME}} UTC: {whom(silence.rule, silence.bot)}"


def whom(rule: str, bot: str) -> str:
    """Whom an alert or a silence is about."""
    return f"{rule or 'every rule'} of {bot or 'every bot'}"

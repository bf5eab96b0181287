"""Alerts in words: one short text for all that changed at one evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.alerts.core.notices import NoticeKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from derivfleet.metrics.alerts.alert_table import Alert

__all__ = ["UNITS", "AlertChange", "ended_of", "seen_of", "text_of"]

UNITS = {
    "error_rate": "of calls failed",
    "drawdown": "below the highest profit",
    "fleet_drawdown": "below the highest profit",
    "no_trades": "minutes without a purchase",
    "quota_unused": "of the limit used",
    "unknown_orders": "orders unknown",
    "bot_down": "s without a sign of life",
    "gateway_down": "s behind the gateway",
    "report_incomplete": "of orders without a trace",
}
"""What the number of a condition counts."""
_SHARES = ("error_rate", "quota_unused", "report_incomplete")
_MOST_LINES = 20
"""A chat takes some thousand characters; whoever has more than that to read opens the page."""


@dataclass(frozen=True, slots=True)
class AlertChange:
    """What is told of one alert."""

    kind: NoticeKind
    alert: Alert


def text_of(fleet: str, changes: Sequence[AlertChange]) -> str:
    """One line for each alert, those that fire first."""
    ordered = sorted(changes, key=lambda one: one.kind is NoticeKind.CLEARED)
    lines = [f"[{fleet}] {_line(change)}" for change in ordered[:_MOST_LINES]]
    more = len(ordered) - _MOST_LINES
    if more > 0:
        lines.append(f"[{fleet}] and {more} more: derivfleet alerts")
    return "\n".join(lines)


def _line(change: AlertChange) -> str:
    alert = change.alert
    of = f" {alert.bot}" if alert.bot else ""
    if change.kind is NoticeKind.FIRED:
        return f"FIRING {alert.rule}{of}: {seen_of(alert)}"
    return f"CLEARED {alert.rule}{of} {ended_of(alert)}"


def ended_of(alert: Alert) -> str:
    """After how long an alert was over, and what was seen then."""
    lasted_s = max(0, alert.cleared_ns - alert.fired_ns) // NS_PER_S
    return f"after {_duration(lasted_s)}: {seen_of(alert)}"


def seen_of(alert: Alert) -> str:
    """What was seen, against what is allowed."""
    limit = f"threshold {_number(alert.condition, alert.threshold)}"
    unit = "order unknown" if alert.condition == "unknown_orders" and alert.value == 1 else UNITS[alert.condition]
    return f"{_number(alert.condition, alert.value)} {unit} ({limit})"


def _number(condition: str, value: Decimal) -> str:
    return f"{value:.1%}" if condition in _SHARES else f"{value:.2f}".rstrip("0").rstrip(".")


def _duration(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"

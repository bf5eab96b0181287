"""The page's list of alerts: what needs a look now by the gateway's own word, and what the rules have seen. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.alerts.notice_text import ended_of, seen_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from derivfleet.metrics.alerts.alert_table import Alert
    from derivfleet.metrics.web.view import View

__all__ = ["PageAlert", "alert_json", "alerts_of"]

_NEARLY_FULL = 0.95
_STALE_S = 20.0
_STALE_WALL_S = 5.0
"""The gateway is asked every few seconds of fleet time; with a fast clock, what counts is the wall's."""


@dataclass(frozen=True, slots=True)
class PageAlert:
    """One thing that somebody should know. ``bot`` is empty if it is the whole fleet's, a time 0 if it is not known.

    ``severity`` is ``critical``, ``warning`` or ``info``; ``state`` is ``firing`` or ``resolved``.
    """

    rule: str
    severity: str
    message: str
    bot: str = ""
    since_ns: int = 0
    until_ns: int = 0
    state: str = "firing"


def alert_json(alert: PageAlert) -> dict[str, object]:
    """One alert for people and programs; times in seconds, None if not known."""
    return {
        "rule": alert.rule,
        "bot": alert.bot,
        "severity": alert.severity,
        "since_s": alert.since_ns / NS_PER_S or None,
        "until_s": alert.until_ns / NS_PER_S or None,
        "state": alert.state,
        "message": alert.message,
    }


def alerts_of(view: View) -> Sequence[PageAlert]:
    """What is wrong, the worst first, and then what was wrong, the newest first."""
    kept = [_kept(one) for one in view.kept_alerts]
    now = [*_feed(view), *_breaker(view), *_account(view), *_doubts(view), *_limits(view), *_bots(view)]
    firing = [*now, *(one for one in kept if not one.until_ns)]
    over = [one for one in kept if one.until_ns]
    return [*sorted(firing, key=lambda alert: ("critical", "warning", "info").index(alert.severity)), *over]


def _kept(alert: Alert) -> PageAlert:
    """One that a rule of the fleet file has raised."""
    if alert.is_firing:
        return PageAlert(alert.rule, "warning", f"{seen_of(alert)}.", alert.bot, alert.fired_ns)
    message = f"Over {ended_of(alert)}."
    return PageAlert(alert.rule, "warning", message, alert.bot, alert.fired_ns, alert.cleared_ns, "resolved")


def _feed(view: View) -> Iterator[PageAlert]:
    if not view.feed.connected:
        since_ns = view.now_ns - round(view.feed.lag_s * NS_PER_S)
        problem = view.feed.problem or "no answer"
        yield PageAlert(
            "feed_cut", "critical", f"The order feed is cut ({problem}); it is being tried again.", "", since_ns
        )
    elif view.status is not None:
        age_s = (view.now_ns - view.status.time_ns) / NS_PER_S
        if age_s > max(_STALE_S, _STALE_WALL_S * view.speed):
            message = f"The gateway has not told its status for {age_s:.0f} s."
            yield PageAlert("status_stale", "warning", message, since_ns=view.status.time_ns)


def _breaker(view: View) -> Iterator[PageAlert]:
    breaker = view.quota.breaker if view.quota else None
    if breaker is not None and breaker.state not in ("", "closed"):
        severity = "critical" if breaker.state == "open" else "warning"
        reason = f": {breaker.reason}" if breaker.reason else ""
        words = breaker.state.replace("_", " ")
        yield PageAlert(
            "breaker", severity, f"No orders are opened, the breaker is {words}{reason}.", "", breaker.since_ns
        )


def _account(view: View) -> Iterator[PageAlert]:
    status = view.status
    if status is None:
        return
    for one in status.connections:
        if one.state != "ready":
            problem = f": {one.problem}" if one.problem else ""
            yield PageAlert("socket", "warning", f"The {one.role} socket is {one.state}{problem}.")
    if status.rejected_by_deriv:
        message = f"Deriv refused {status.rejected_by_deriv} calls for their rate since the gateway started."
        yield PageAlert("refused_by_deriv", "critical", message, since_ns=status.started_ns)
    if status.foreign_trades:
        count = status.foreign_trades
        trades = "1 trade on this account was" if count == 1 else f"{count} trades on this account were"
        message = f"{trades} made by no bot of the fleet."
        yield PageAlert("foreign_trades", "critical", message, since_ns=status.started_ns)


def _doubts(view: View) -> Iterator[PageAlert]:
    for bot, unknown in view.unknown_orders.items():
        if unknown.doubtful:
            who = "1 order waits" if unknown.doubtful == 1 else f"{unknown.doubtful} orders wait"
            message = f"{who} for you to decide what became of it: derivfleet orders --unknown"
            yield PageAlert("doubtful_orders", "critical", message, bot)


def _limits(view: View) -> Iterator[PageAlert]:
    for window in view.status.windows if view.status else ():
        if window.limit and window.used >= _NEARLY_FULL * window.limit:
            message = (
                f"{window.bucket} per {window.window_s} s: {window.used} of the gateway's {window.limit} calls used."
            )
            yield PageAlert("limit_nearly_full", "warning", message)
    waiting: dict[str, int] = {}
    for share in view.quota.shares if view.quota else ():
        waiting[share.bot] = max(waiting.get(share.bot, 0), share.waiting)
    for bot, calls in waiting.items():
        if calls:
            yield PageAlert("waits_for_quota", "info", f"{calls} calls wait for their turn.", bot)


def _bots(view: View) -> Iterator[PageAlert]:
    for bot in view.figures.bots:
        if bot.errors:
            codes = ", ".join(f"{code} {count}×" for code, count in bot.errors[:3])
            yield PageAlert(
                "bot_errors", "warning", f"Failed calls in the last {view.window_s // 60} min: {codes}.", bot.bot
            )

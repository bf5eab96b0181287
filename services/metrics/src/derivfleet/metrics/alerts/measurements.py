"""How things stand by each rule: one number a rule and bot, from what the service knows anyway."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from derivfleet.common.alert_rules import PER_BOT
from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.alerts.core.drawdown import Drawdown

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from derivfleet.common.alert_rules import AlertRule
    from derivfleet.common.clock import Clock
    from derivfleet.common.fleet import Fleet
    from derivfleet.metrics.ingest.order_feed import OrderFeed
    from derivfleet.metrics.records.gateway_status import BotsSeen
    from derivfleet.metrics.reports.figures import Figures
    from derivfleet.metrics.reports.reports import Reports
    from derivfleet.metrics.store.store import Store

__all__ = ["Measurements", "Readings"]

Readings = dict[tuple[str, str], Decimal | None]
"""By rule and bot ("" for the account); None: not known."""

_ZERO = Decimal(0)
_ONE = Decimal(1)
_STATUS_FRESH_S = 30
"""An older answer of the gateway says nothing of its bots: that is the gateway's own alert."""
_TRACES_LATE_S = 30
"""Orders may be known before their spans have arrived, so completeness is judged so much later."""
_START_S = 30
"""By the wall: so long after its start the service may still be looking for the gateway, or reading what it missed, and
a bot may be starting."""
_ROWS = 5_000


@dataclass(slots=True)
class _Evaluation:
    """What one evaluation of the rules has asked already."""

    now_ns: int
    figures: dict[tuple[int, int], Figures] = field(default_factory=dict[tuple[int, int], "Figures"])


class _Drawdowns:
    """The drawdowns of one window, kept up by the settlements' position in the feed."""

    def __init__(self, window_s: int) -> None:
        self._window_ns = window_s * NS_PER_S
        self._position = 0
        self._bots: dict[str, Drawdown] = {}
        self._fleet = Drawdown(self._window_ns)

    async def refresh(self, store: Store, account: str, now_ns: int) -> None:
        while True:
            rows = await store.settlements(account, self._position, now_ns - self._window_ns, _ROWS)
            for row in rows:
                self._bots.setdefault(row.bot, Drawdown(self._window_ns)).add(row.settled_ns, row.profit)
                self._fleet.add(row.settled_ns, row.profit)
                self._position = row.position
            if len(rows) < _ROWS:
                return

    def depth(self, bot: str, now_ns: int) -> Decimal:
        """Of a bot, or of the fleet for an empty name."""
        one = self._bots.get(bot) if bot else self._fleet
        return one.depth(now_ns) if one is not None else _ZERO


class Measurements:
    """Measurements one account. ``seen`` is asked anew at each evaluation: whoever follows the gateway keeps it up."""

    def __init__(
        self,
        store: Store,
        reports: Reports,
        feed: OrderFeed,
        clock: Clock,
        fleet: Fleet,
        account: str,
        seen: Mapping[str, BotsSeen],
    ) -> None:
        self._store = store
        self._reports = reports
        self._feed = feed
        self._clock = clock
        self._account = account
        self._seen = seen
        self._bots = [bot.name for bot in fleet.bots if fleet.account_of(bot).key == account]
        self._drawdowns: dict[int, _Drawdowns] = {}
        self._started_ns = clock.now_ns()

    async def read(self, rules: tuple[AlertRule, ...]) -> Readings:
        """One value for every rule and bot that it watches. Raises StoreError."""
        evaluation = _Evaluation(self._clock.now_ns())
        readings: Readings = {}
        for rule in rules:
            bots = rule.bots or self._bots
            if rule.when in PER_BOT:
                found = await self._of_bots(rule, evaluation, bots)
            else:
                found = {"": await self._of_account(rule, evaluation)}
            readings |= {(rule.name, bot): value for bot, value in found.items()}
        return readings

    async def _of_bots(
        self, rule: AlertRule, evaluation: _Evaluation, bots: Sequence[str]
    ) -> dict[str, Decimal | None]:
        match rule.when:
            case "error_rate":
                figures = await self._figures(evaluation, rule.window_s)
                return {bot: _error_rate(figures, bot, rule.least_calls) for bot in bots}
            case "drawdown":
                drawdowns = await self._drawdowns_of(rule.window_s, evaluation.now_ns)
                return {bot: drawdowns.depth(bot, evaluation.now_ns) for bot in bots}
            case "no_trades":
                return await self._minutes_without_trade(evaluation, bots, rule)
            case "unknown_orders":
                unknown = await self._store.unknown_orders(self._account)
                return {bot: Decimal(unknown[bot].orders if bot in unknown else 0) for bot in bots}
            case "bot_down":
                return {bot: self._silent_s(bot, evaluation.now_ns) for bot in bots}
            case other:
                raise ValueError(f"{other} is not watched bot by bot")

    async def _of_account(self, rule: AlertRule, evaluation: _Evaluation) -> Decimal | None:
        match rule.when:
            case "fleet_drawdown":
                return (await self._drawdowns_of(rule.window_s, evaluation.now_ns)).depth("", evaluation.now_ns)
            case "quota_unused":
                return await self._share_used(evaluation, rule)
            case "gateway_down":
                return None if self._is_starting(evaluation) else Decimal(f"{self._feed.lag_s():.3f}")
            case "report_incomplete":
                return await self._untraced(evaluation, rule.window_s)
            case other:
                raise ValueError(f"{other} is watched bot by bot")

    async def _figures(self, evaluation: _Evaluation, window_s: int, late_s: int = 0) -> Figures:
        key = window_s, late_s
        if key not in evaluation.figures:
            end_ns = evaluation.now_ns + 1 - late_s * NS_PER_S
            evaluation.figures[key] = await self._reports.figures(self._account, end_ns - window_s * NS_PER_S, end_ns)
        return evaluation.figures[key]

    async def _drawdowns_of(self, window_s: int, now_ns: int) -> _Drawdowns:
        drawdowns = self._drawdowns.setdefault(window_s, _Drawdowns(window_s))
        await drawdowns.refresh(self._store, self._account, now_ns)
        return drawdowns

    async def _minutes_without_trade(
        self, evaluation: _Evaluation, bots: Sequence[str], rule: AlertRule
    ) -> dict[str, Decimal | None]:
        """Counted from the last purchase, or from the beginning of what is known; at most a little past the threshold.

        So only the newest purchases have to be read.
        """
        reach_ns = (int(rule.limit * 60) + 3600) * NS_PER_S
        since_ns = evaluation.now_ns - reach_ns
        bought = await self._store.read(lambda one: _last_purchases(one, self._account, since_ns))
        known_ns = await self._store.read(lambda one: _known_since(one, self._account)) or self._started_ns
        return {
            bot: Decimal(evaluation.now_ns - max(since_ns, bought.get(bot, known_ns))) / (60 * NS_PER_S) for bot in bots
        }

    async def _share_used(self, evaluation: _Evaluation, rule: AlertRule) -> Decimal | None:
        """None until a whole window has passed: what is new has not used anything yet."""
        if evaluation.now_ns - self._started_ns < rule.window_s * NS_PER_S:
            return None
        figures = await self._figures(evaluation, rule.window_s)
        for one in figures.quota:
            if one.bucket == rule.bucket:
                return Decimal(str(one.share_of_limit))
        return None

    def _silent_s(self, bot: str, now_ns: int) -> Decimal | None:
        seen = self._seen.get(self._account)
        if seen is None or now_ns - seen.time_ns > _STATUS_FRESH_S * NS_PER_S * max(1.0, self._clock.speed):
            return None
        last_ns = seen.last_ns.get(bot)
        if last_ns is None:
            return None
        silent_s = Decimal(max(0, seen.time_ns - (last_ns or seen.started_ns))) / NS_PER_S
        # A process takes the wall's time to start, however fast the clock runs.
        return None if not last_ns and silent_s < self._clock.fleet_s(_START_S) else silent_s

    def _is_starting(self, evaluation: _Evaluation) -> bool:
        return evaluation.now_ns - self._started_ns < self._clock.fleet_s(_START_S) * NS_PER_S

    async def _untraced(self, evaluation: _Evaluation, window_s: int) -> Decimal | None:
        """The share of settled orders of the window without a trace; all of it while the order feed is cut."""
        if not self._feed.connected:
            return None if self._is_starting(evaluation) else _ONE
        seen = (await self._figures(evaluation, window_s, _TRACES_LATE_S)).completeness
        missing = seen.orders_in_feed - seen.orders_traced + seen.traces_without_order
        whole = seen.orders_in_feed + seen.traces_without_order
        return Decimal(missing) / whole if whole else _ZERO


def _error_rate(figures: Figures, bot: str, least_calls: int) -> Decimal:
    """Failed calls / calls; a purchase that never reached the gateway is a call that failed."""
    for one in figures.bots:
        if one.bot == bot:
            errors = sum(count for _, count in one.errors)
            calls = max(one.ops, errors)
            return Decimal(errors) / calls if calls >= least_calls else _ZERO
    return _ZERO


def _last_purchases(connection: sqlite3.Connection, account: str, since_ns: int) -> dict[str, int]:
    return dict(
        connection.execute(
            "SELECT bot, MAX(bought_ns) FROM orders "
            "WHERE account = ? AND bought_ns >= ? AND bought_ns != 0 GROUP BY bot",
            (account, since_ns),
        ).fetchall()
    )


def _known_since(connection: sqlite3.Connection, account: str) -> int:
    (first,) = connection.execute("SELECT MIN(time_ns) FROM status_samples WHERE account = ?", (account,)).fetchone()
    return first or 0

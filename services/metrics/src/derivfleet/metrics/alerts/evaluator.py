"""The loop over the rules: measure, decide, keep what was decided and what is to be told in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.alerts import alert_table
from derivfleet.metrics.alerts.alert_table import Alert, KeptSilence
from derivfleet.metrics.alerts.core.alert_state import AlertState, Bounds
from derivfleet.metrics.alerts.core.notices import LastNotice, NoticeKind, Silence, is_silenced, notice_due
from derivfleet.metrics.alerts.notice_text import AlertChange, text_of
from derivfleet.metrics.store.store import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from decimal import Decimal

    from derivfleet.common.alert_rules import AlertRule
    from derivfleet.common.clock import Clock
    from derivfleet.common.fleet import Fleet
    from derivfleet.metrics.alerts.measurements import Measurements, Readings
    from derivfleet.metrics.store.store import Store

__all__ = ["AlertOverview", "Evaluator"]

_log = structlog.get_logger()
_SHORTEST_WALL_S = 0.2
_MOST_ALERTS = 200


@dataclass(frozen=True, slots=True)
class AlertOverview:
    """What people see: alerts that fire, then those that are over, the newest first; and the silences that hold."""

    alerts: tuple[Alert, ...]
    silences: tuple[KeptSilence, ...]
    untold: int = 0
    """Notices that wait for a channel."""

    @property
    def firing(self) -> tuple[Alert, ...]:
        return tuple(alert for alert in self.alerts if alert.is_firing)


class Evaluator:
    """Evaluates the rules of one account for ever. ``channels`` are the names of those that are told."""

    def __init__(
        self,
        store: Store,
        measurements: Measurements,
        clock: Clock,
        fleet: Fleet,
        channels: Sequence[str],
    ) -> None:
        self._store = store
        self._measurements = measurements
        self._clock = clock
        self._rules = {rule.name: rule for rule in fleet.alerts.rules}
        self._every_s = fleet.alerts.every_s
        self._fleet = fleet.fleet
        self._channels = tuple(channels)
        self._trouble = False

    @property
    def channels(self) -> tuple[str, ...]:
        """Over which ways people are told."""
        return self._channels

    @property
    def rules(self) -> tuple[AlertRule, ...]:
        return tuple(self._rules.values())

    async def run(self) -> None:
        """Evaluate until cancelled."""
        while True:
            try:
                await self.evaluate()
                self._trouble = False
            except StoreError as error:
                if not self._trouble:
                    _log.warning("alert rules could not be looked at", problem=str(error))
                self._trouble = True
            await self._clock.sleep(max(self._every_s, self._clock.fleet_s(_SHORTEST_WALL_S)))

    async def evaluate(self) -> None:
        """Evaluate every rule once. Raises StoreError."""
        readings = await self._measurements.read(self.rules)
        now_ns = self._clock.now_ns()
        changes = await self._store.write(lambda connection: self._decide(connection, readings, now_ns))
        for change in changes:
            _log.info(
                "alert",
                turn=change.kind,
                rule=change.alert.rule,
                bot=change.alert.bot,
                condition=change.alert.condition,
                value=str(change.alert.value),
                threshold=str(change.alert.threshold),
            )

    async def overview(self, limit: int = _MOST_ALERTS) -> AlertOverview:
        """Alerts and silences now. Raises StoreError."""
        now_ns = self._clock.now_ns()
        return await self._store.read(
            lambda connection: AlertOverview(
                tuple(alert_table.alerts(connection, limit)),
                tuple(alert_table.silences(connection, now_ns)),
                alert_table.untold(connection),
            )
        )

    async def silence(self, rule: str, bot: str, seconds: float, reason: str) -> KeptSilence:
        """Tell nothing of a rule and a bot (empty: of every one) for a while. Raises StoreError."""
        asked = Silence(rule, bot, self._clock.now_ns() + round(seconds * NS_PER_S))
        number = await self._store.write(lambda connection: alert_table.silence(connection, asked, reason))
        return KeptSilence(number, asked, reason)

    async def end_silences(self, rule: str, bot: str) -> int:
        """End the silences that were asked for exactly this; returns how many. Raises StoreError."""
        now_ns = self._clock.now_ns()
        return await self._store.write(lambda connection: alert_table.end_silences(connection, rule, bot, now_ns))

    def _decide(self, connection: sqlite3.Connection, readings: Readings, now_ns: int) -> list[AlertChange]:
        kept = alert_table.alert_states(connection)
        silences = [one.silence for one in alert_table.silences(connection, now_ns)]
        changes: list[AlertChange] = []
        for rule, bot in sorted(readings.keys() | kept.keys()):
            before, last = kept.get((rule, bot), (AlertState(), LastNotice()))
            if (rule, bot) in readings:
                value = readings[rule, bot]
                state = before.step(_bounds(self._rules[rule]), value, now_ns)
            else:
                # A rule or a bot that the fleet file has no more: nothing of it goes on.
                value, state = None, AlertState(since_ns=now_ns)
            if state.is_firing and not before.is_firing:
                alert_table.keep_alert(connection, _alert(self._rules[rule], bot, value, now_ns))
            elif before.is_firing and not state.is_firing:
                alert_table.clear_alert(connection, rule, bot, before.fired_ns, value, now_ns)
            kind = notice_due(state, last, silenced=is_silenced(silences, rule, bot, now_ns))
            if kind is not None:
                fired_ns = state.fired_ns if kind is NoticeKind.FIRED else last.fired_ns
                changes.append(AlertChange(kind, alert_table.alert(connection, rule, bot, fired_ns)))
                last = last.after(state)
            if (rule, bot) not in readings and not last.fired_ns:
                alert_table.drop_alert_state(connection, rule, bot)
            elif kept.get((rule, bot)) != (state, last):
                alert_table.keep_alert_state(connection, rule, bot, state, last)
        if changes:
            alert_table.add_notice(connection, self._channels, text_of(self._fleet, changes), now_ns)
        return changes


def _bounds(rule: AlertRule) -> Bounds:
    return Bounds(rule.limit, rule.clears_at, rule.for_s * NS_PER_S, rule.clear_for_s * NS_PER_S, rule.is_below)


def _alert(rule: AlertRule, bot: str, value: Decimal | None, now_ns: int) -> Alert:
    """What begins to fire; the value is known, for nothing fires without one."""
    return Alert(rule.name, bot, rule.when, rule.limit, rule.limit if value is None else value, now_ns)

"""The tables of alerts, silences and notices: statements to be run by ``Store.read`` and ``Store.write``."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from derivfleet.metrics.alerts.core.alert_state import AlertState, Phase
from derivfleet.metrics.alerts.core.notices import LastNotice, Silence

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

__all__ = [
    "Alert",
    "KeptSilence",
    "Notice",
    "add_notice",
    "alert",
    "alert_states",
    "alerts",
    "clear_alert",
    "drop_alert_state",
    "end_notice",
    "end_silences",
    "forget",
    "keep_alert",
    "keep_alert_state",
    "next_notice",
    "silence",
    "silences",
    "untold",
]


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert, from when it fired to when it was over (``cleared_ns`` is 0 until then).

    ``bot`` is empty if it concerns the account. ``value`` is what was seen when it fired, and then when it cleared, in
    the unit of ``condition``. Times are nanoseconds of fleet time.
    """

    rule: str
    bot: str
    condition: str
    threshold: Decimal
    value: Decimal
    fired_ns: int
    cleared_ns: int = 0

    @property
    def is_firing(self) -> bool:
        return not self.cleared_ns


@dataclass(frozen=True, slots=True)
class KeptSilence:
    """A silence with its number and why it was asked for."""

    number: int
    silence: Silence
    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A text that is to be told over one channel."""

    number: int
    text: str
    made_ns: int


def alert_states(connection: sqlite3.Connection) -> dict[tuple[str, str], tuple[AlertState, LastNotice]]:
    """The state of every alert at the last evaluation, by rule and bot: the table ``watches``."""
    return {
        (rule, bot): (AlertState(Phase(phase), since_ns, fired_ns), LastNotice(told_ns))
        for rule, bot, phase, since_ns, fired_ns, told_ns in connection.execute(
            "SELECT rule, bot, phase, since_ns, fired_ns, told_fired_ns FROM watches"
        )
    }


def keep_alert_state(connection: sqlite3.Connection, rule: str, bot: str, state: AlertState, last: LastNotice) -> None:
    connection.execute(
        "INSERT INTO watches (rule, bot, phase, since_ns, fired_ns, told_fired_ns) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (rule, bot) DO UPDATE SET phase = excluded.phase, since_ns = excluded.since_ns, "
        "fired_ns = excluded.fired_ns, told_fired_ns = excluded.told_fired_ns",
        (rule, bot, state.phase, state.since_ns, state.fired_ns, last.fired_ns),
    )


def drop_alert_state(connection: sqlite3.Connection, rule: str, bot: str) -> None:
    connection.execute("DELETE FROM watches WHERE rule = ? AND bot = ?", (rule, bot))


_NEXT_CHANGE = "(SELECT COALESCE(MAX(change), 0) + 1 FROM alerts)"
_ALERT = "SELECT rule, bot, condition, threshold, value, fired_ns, cleared_ns FROM alerts"


def keep_alert(connection: sqlite3.Connection, alert: Alert) -> None:
    """Keep an alert that has fired."""
    row = (alert.rule, alert.bot, alert.condition, str(alert.threshold), str(alert.value), alert.fired_ns)
    connection.execute(
        "INSERT INTO alerts (rule, bot, condition, threshold, value, fired_ns, cleared_ns, change) "  # noqa: S608 - our own words
        f"VALUES (?, ?, ?, ?, ?, ?, 0, {_NEXT_CHANGE})",
        row,
    )


def clear_alert(
    connection: sqlite3.Connection, rule: str, bot: str, fired_ns: int, value: Decimal | None, now_ns: int
) -> None:
    """It is over, with the value that says so (None keeps the last one)."""
    connection.execute(
        f"UPDATE alerts SET change = {_NEXT_CHANGE}, cleared_ns = ?, value = COALESCE(?, value) "  # noqa: S608 - our own words
        "WHERE rule = ? AND bot = ? AND fired_ns = ?",
        (now_ns, None if value is None else str(value), rule, bot, fired_ns),
    )


def alert(connection: sqlite3.Connection, rule: str, bot: str, fired_ns: int) -> Alert:
    """One that was kept."""
    where = " WHERE rule = ? AND bot = ? AND fired_ns = ?"
    return _alert(connection.execute(_ALERT + where, (rule, bot, fired_ns)).fetchone())


def alerts(connection: sqlite3.Connection, limit: int) -> list[Alert]:
    """The alerts that fire, and then those that are over; of each the newest first."""
    order = " ORDER BY cleared_ns != 0, fired_ns DESC, rule, bot LIMIT ?"
    return [_alert(row) for row in connection.execute(_ALERT + order, (limit,))]


def _alert(row: tuple[str, str, str, str, str, int, int]) -> Alert:
    rule, bot, condition, threshold, value, fired_ns, cleared_ns = row
    return Alert(rule, bot, condition, Decimal(threshold), Decimal(value), fired_ns, cleared_ns)


def silence(connection: sqlite3.Connection, asked: Silence, reason: str) -> int:
    """Keep a silence; returns its number."""
    done = connection.execute(
        "INSERT INTO silences (rule, bot, until_ns, reason) VALUES (?, ?, ?, ?)",
        (asked.rule, asked.bot, asked.until_ns, reason),
    )
    return done.lastrowid or 0


def silences(connection: sqlite3.Connection, now_ns: int) -> list[KeptSilence]:
    """Those that hold now."""
    rows = connection.execute(
        "SELECT id, rule, bot, until_ns, reason FROM silences WHERE until_ns > ? ORDER BY id", (now_ns,)
    )
    return [KeptSilence(number, Silence(rule, bot, until_ns), reason) for number, rule, bot, until_ns, reason in rows]


def end_silences(connection: sqlite3.Connection, rule: str, bot: str, now_ns: int) -> int:
    """End those that were asked for exactly this rule and bot; returns how many."""
    return connection.execute(
        "UPDATE silences SET until_ns = ?3 WHERE rule = ?1 AND bot = ?2 AND until_ns > ?3", (rule, bot, now_ns)
    ).rowcount


def add_notice(connection: sqlite3.Connection, channels: Iterable[str], text: str, now_ns: int) -> None:
    """Something is to be told over each channel."""
    connection.executemany(
        "INSERT INTO notices (channel, text, made_ns, ended_ns, problem) VALUES (?, ?, ?, 0, '')",
        [(channel, text, now_ns) for channel in channels],
    )


def next_notice(connection: sqlite3.Connection, channel: str) -> Notice | None:
    """The oldest that a channel has still to tell."""
    row = connection.execute(
        "SELECT id, text, made_ns FROM notices WHERE channel = ? AND ended_ns = 0 ORDER BY id LIMIT 1", (channel,)
    ).fetchone()
    return None if row is None else Notice(*row)


def untold(connection: sqlite3.Connection) -> int:
    """How many notices wait."""
    (count,) = connection.execute("SELECT COUNT(*) FROM notices WHERE ended_ns = 0").fetchone()
    return count


def end_notice(connection: sqlite3.Connection, number: int, now_ns: int, problem: str = "") -> None:
    """It was told, or (with a problem) given up."""
    connection.execute("UPDATE notices SET ended_ns = ?, problem = ? WHERE id = ?", (now_ns, problem, number))


def forget(connection: sqlite3.Connection, before_ns: int) -> int:
    """Delete what is over for longer; the newest alert stays, for its change is the highest. Returns how many rows."""
    return sum(
        connection.execute(statement, (before_ns,)).rowcount
        for statement in (
            "DELETE FROM alerts WHERE cleared_ns != 0 AND cleared_ns < ? AND change < (SELECT MAX(change) FROM alerts)",
            "DELETE FROM notices WHERE ended_ns != 0 AND ended_ns < ?",
            "DELETE FROM silences WHERE until_ns < ?",
        )
    )

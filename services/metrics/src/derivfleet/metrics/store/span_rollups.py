"""The sums of spans on disk: brought up to date now and then, and read back for any run of whole minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.common.clock import NS_PER_S
from derivfleet.common.spans import SpanName
from derivfleet.metrics.store.order_rollups import invalidate
from derivfleet.metrics.store.report_table import mark_amended
from derivfleet.metrics.store.traced_orders import TracedOrder, keep_traced
from derivfleet.metrics.sums.span_aggregates import ERROR, MinuteAggregates, SpanAggregate
from derivfleet.metrics.sums.time_levels import LEVELS_S, MINUTE_S, WINDOW_S, pieces

if TYPE_CHECKING:
    import sqlite3

    from derivfleet.metrics.records.span import SpanRow
    from derivfleet.metrics.store.span_batches import SpanBatch

__all__ = [
    "FORGET_ANSWERED",
    "FORGET_MINUTES",
    "PendingRollups",
    "aggregates_of",
    "last_rolled_batch",
    "write_pending",
]

_MARK = "rolled_parcel"
_OF_AGGREGATE = "SELECT body FROM span_rollups WHERE level_s = ? AND start_s = ? AND account = ? AND bot = ?"
_KEEP_AGGREGATE = (
    "INSERT INTO span_rollups (level_s, start_s, account, bot, body) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (level_s, start_s, account, bot) DO UPDATE SET body = excluded.body"
)
FORGET_MINUTES = f"""
DELETE FROM span_rollups WHERE (level_s, start_s, account, bot) IN (
  SELECT level_s, start_s, account, bot FROM span_rollups
  WHERE level_s = {MINUTE_S} AND start_s < ? / {NS_PER_S} LIMIT ?
)
"""  # noqa: S608 - numbers of our own
FORGET_ANSWERED = "DELETE FROM answered WHERE key IN (SELECT key FROM answered WHERE end_ns < ? LIMIT ?)"


class PendingRollups:
    """What batches added that is not in the rollups on disk yet. Nothing of it is lost: the batches are on disk."""

    def __init__(self) -> None:
        self.aggregates = MinuteAggregates()
        self.last_batch = 0
        self.orders: dict[tuple[str, str], TracedOrder] = {}
        self._answered: dict[bytes, int] = {}
        self._failed: list[SpanRow] = []

    def add(self, batch: SpanBatch) -> None:
        """Count a batch that is on disk."""
        self.last_batch = max(self.last_batch, batch.number)
        received_ns = batch.received_ns
        count = self.aggregates.add
        for row in batch.rows:
            count(row, received_ns)
            if row.order_id:
                key = (row.account, row.order_id)
                order = self.orders.get(key)
                if order is None:
                    order = self.orders[key] = TracedOrder(row)
                order.add(row)
                if row.name == SpanName.GATEWAY_BUY:
                    if row.parent:
                        self._answered[row.parent] = row.end_ns
                elif row.error_code and row.name == SpanName.BUY:
                    self._failed.append(row)

    def corrections(self, connection: sqlite3.Connection) -> MinuteAggregates:
        """Errors of purchases that failed without having reached the gateway; it counts the others' errors itself."""
        aggregates = MinuteAggregates()
        connection.executemany("INSERT OR IGNORE INTO answered (key, end_ns) VALUES (?, ?)", self._answered.items())
        for key in self._answered:
            gone = connection.execute(
                "DELETE FROM unanswered WHERE key = ? RETURNING account, bot, end_ns, code", (key,)
            ).fetchone()
            if gone is not None:
                account, bot, end_ns, code = gone
                aggregates.at(account, bot, end_ns).count(ERROR + code, -1)
        for row in self._failed:
            if connection.execute("SELECT 1 FROM answered WHERE key = ?", (row.key,)).fetchone() is None:
                connection.execute(
                    "INSERT OR IGNORE INTO unanswered (key, end_ns, account, bot, code) VALUES (?, ?, ?, ?, ?)",
                    (row.key, row.end_ns, row.account, row.bot, row.error_code),
                )
                aggregates.at(row.account, row.bot, row.end_ns).count(ERROR + row.error_code, 1)
        return aggregates


def last_rolled_batch(connection: sqlite3.Connection) -> int:
    """The last batch that is in the rollups."""
    row = connection.execute("SELECT value FROM marks WHERE name = ?", (_MARK,)).fetchone()
    return row[0] if row else 0


def write_pending(connection: sqlite3.Connection, pending: PendingRollups, account: str) -> None:
    """Add what is pending to the rollups, in the open transaction. ``account`` is that of spans that name none."""
    invalidate(connection, keep_traced(connection, pending.orders))
    windows: set[tuple[str, int]] = set()
    corrections = pending.corrections(connection)
    for level_s in LEVELS_S:
        for start_s, owner, bot, aggregate in (*pending.aggregates.rolled_up(level_s), *corrections.rolled_up(level_s)):
            at = (level_s, start_s, owner, bot)
            there = connection.execute(_OF_AGGREGATE, at).fetchone()
            if there is not None:
                aggregate.add(SpanAggregate.of(there[0]))
            elif level_s == MINUTE_S:
                # The first span of its minute: longer pieces count in how many minutes a bot was heard of.
                aggregate.count("minutes", 1)
                corrections.at(owner, bot, start_s * NS_PER_S).count("minutes", 1)
            connection.execute(_KEEP_AGGREGATE, (*at, aggregate.body()))
            if level_s == WINDOW_S:
                windows.add((owner or account, start_s))
    mark_amended(connection, windows)
    connection.execute(
        "INSERT INTO marks (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (_MARK, pending.last_batch),
    )


def aggregates_of(connection: sqlite3.Connection, account: str, start_s: int, end_s: int) -> dict[str, SpanAggregate]:
    """The sums of an account over [start, end), by bot. Spans that name no account belong to the only one."""
    found: dict[str, SpanAggregate] = {}
    for level_s, first_s, last_s in pieces(start_s, end_s):
        rows = connection.execute(
            "SELECT bot, body FROM span_rollups "
            "WHERE level_s = ? AND start_s >= ? AND start_s < ? AND account IN (?, '')",
            (level_s, first_s, last_s, account),
        )
        for bot, body in rows:
            found.setdefault(bot, SpanAggregate()).add(SpanAggregate.of(body))
    return found

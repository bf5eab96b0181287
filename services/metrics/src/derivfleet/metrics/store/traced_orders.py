"""What spans say of orders: the table ``traced``, which is compared with the orders of the feed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.common.spans import SpanName

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from derivfleet.metrics.records.span import SpanRow

__all__ = ["FORGET_TRACED", "NAMED", "PROVEN", "TracedOrder", "keep_traced"]

NAMED, PROVEN = 1, 2
"""The gateway's spans name an order; they prove that it exists."""

_KEEP_TRACED = """
INSERT INTO traced (account, order_id, proven, first_ns, last_ns, stake, profit) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (account, order_id) DO UPDATE SET
  proven = MAX(proven, excluded.proven), first_ns = MIN(first_ns, excluded.first_ns),
  last_ns = MAX(last_ns, excluded.last_ns),
  stake = COALESCE(NULLIF(excluded.stake, ''), stake), profit = COALESCE(NULLIF(excluded.profit, ''), profit)
"""
FORGET_TRACED = (
    "DELETE FROM traced WHERE (account, order_id) IN (SELECT account, order_id FROM traced WHERE last_ns < ? LIMIT ?)"
)


class TracedOrder:
    """What spans say of one order."""

    __slots__ = ("first_ns", "last_ns", "profit", "proven", "stake")

    def __init__(self, row: SpanRow) -> None:
        self.first_ns = row.start_ns
        self.last_ns = row.end_ns
        self.proven = 0
        self.stake = self.profit = ""

    def add(self, row: SpanRow) -> None:
        self.first_ns = min(self.first_ns, row.start_ns)
        self.last_ns = max(self.last_ns, row.end_ns)
        if row.name == SpanName.SETTLE:
            self.proven = PROVEN
        elif row.name == SpanName.GATEWAY_BUY:
            # A purchase that was answered with a state proves that an order exists, one that was refused does not.
            self.proven = max(self.proven, PROVEN if row.state else NAMED)
        self.stake = row.stake or self.stake
        self.profit = row.profit or self.profit


def keep_traced(connection: sqlite3.Connection, orders: Mapping[tuple[str, str], TracedOrder]) -> set[tuple[str, int]]:
    """Keep what spans say of orders, by (account, order id); returns the (account, time) whose sums that changes."""
    touched: set[tuple[str, int]] = set()
    for (account, order_id), one in orders.items():
        key = (account, order_id)
        before = connection.execute("SELECT last_ns FROM traced WHERE account = ? AND order_id = ?", key).fetchone()
        connection.execute(_KEEP_TRACED, (*key, one.proven, one.first_ns, one.last_ns, one.stake, one.profit))
        settled = connection.execute("SELECT settled_ns FROM orders WHERE account = ? AND order_id = ?", key).fetchone()
        times = (one.last_ns, *(before or ()), *(settled or ()))
        touched |= {(account, time_ns) for time_ns in times if time_ns}
    return touched

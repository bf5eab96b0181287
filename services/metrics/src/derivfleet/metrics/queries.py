"""What is asked of the store: SQL in, plain rows out."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from derivfleet.common.spans import SpanName
from derivfleet.metrics.aggregate import PeriodRows, Settlement, SpanRow
from derivfleet.metrics.orders import OrderRecord, OrderState
from derivfleet.metrics.otlp import SpanRecord
from derivfleet.metrics.status import Connection, RefusedCount, StatusSample, Window

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

__all__ = [
    "FORGET_ORDERS",
    "FORGET_SAMPLES",
    "FORGET_SPANS",
    "MONEY",
    "SettledRow",
    "mark",
    "open_orders",
    "orders",
    "period",
    "refused_counts",
    "settled_orders",
    "settlements",
    "spans_of_order",
    "status",
]

T = TypeVar("T")

MONEY = ("stake", "buy_price", "payout", "sell_price", "profit")
"""The columns of an order that hold amounts, as decimal strings."""

FORGET_SPANS = (
    "DELETE FROM spans WHERE (trace_id, span_id) IN (SELECT trace_id, span_id FROM spans WHERE end_ns < ? LIMIT ?)"
)
FORGET_SAMPLES = (
    "DELETE FROM status_samples WHERE (account, time_ns) IN "
    "(SELECT account, time_ns FROM status_samples WHERE time_ns < ? LIMIT ?)"
)
# Positions grow with time, so the first order that is young enough ends the search.
FORGET_ORDERS = """
DELETE FROM orders WHERE (account, order_id) IN (
  SELECT account, order_id FROM orders WHERE state IN ('settled', 'denied', 'rejected', 'not_found') AND position <
    COALESCE((SELECT position FROM orders WHERE changed_ns >= ? ORDER BY position LIMIT 1), 9223372036854775807) LIMIT ?
)
"""

# Spans that do not name their account (a strategy's thinking) belong to the only one.
_SPANS = f"""
SELECT name, bot, start_ns, end_ns, call, error_code, rate_refused,
  CASE WHEN name = '{SpanName.BUY}' AND error_code != '' THEN NOT EXISTS (
    SELECT 1 FROM spans AS child WHERE child.trace_id = spans.trace_id AND child.parent_id = spans.span_id
  ) ELSE 0 END
FROM spans WHERE end_ns >= ? AND end_ns < ? AND account IN (?, '')
"""  # noqa: S608 - the name is our own constant
_SETTLED = f"""
SELECT bot, profit, COALESCE(buy_price, '0'), EXISTS (
  SELECT 1 FROM spans WHERE spans.order_id = orders.order_id AND spans.order_id != ''
    AND spans.name IN ('{SpanName.GATEWAY_BUY}', '{SpanName.SETTLE}') AND spans.account IN (orders.account, '')
)
FROM orders WHERE account = ? AND settled_ns >= ? AND settled_ns < ? AND settled_ns != 0
"""  # noqa: S608 - as above
_PURCHASES = """
SELECT bot, COUNT(*) FROM orders WHERE account = ? AND bought_ns >= ? AND bought_ns < ? AND bought_ns != 0 GROUP BY bot
"""
# A purchase that was answered with a state, or a settlement, proves that an order exists.
_WITHOUT_ORDER = f"""
SELECT COUNT(DISTINCT order_id) FROM spans
WHERE end_ns >= ? AND end_ns < ? AND account IN (?, '') AND order_id != ''
  AND (name = '{SpanName.SETTLE}' OR (name = '{SpanName.GATEWAY_BUY}' AND state != ''))
  AND NOT EXISTS (SELECT 1 FROM orders WHERE orders.account = ? AND orders.order_id = spans.order_id)
"""  # noqa: S608 - as above
_SPAN_COLUMNS = ", ".join(field.name for field in fields(SpanRecord))
# The trace that the order itself names, and those of every span that names the order.
_SPANS_OF_ORDER = f"""
SELECT {_SPAN_COLUMNS} FROM spans WHERE account IN (?1, '') AND trace_id IN (
  SELECT trace_id FROM spans WHERE order_id = ?2 AND order_id != '' AND account IN (?1, '')
  UNION SELECT trace_id FROM orders WHERE account = ?1 AND order_id = ?2
) ORDER BY start_ns LIMIT ?3
"""  # noqa: S608 - names of our own fields


@dataclass(frozen=True, slots=True)
class SettledRow:
    """One settlement on its way to a running sum."""

    position: int
    bot: str
    settled_ns: int
    profit: Decimal


def mark(connection: sqlite3.Connection, source: str) -> tuple[int, int, int, int, str]:
    """Position, seen-to, refused, base and journal of a feed; zeros if it never was."""
    row = connection.execute(
        "SELECT position, seen_to_ns, refused, base, journal FROM feeds WHERE source = ?", (source,)
    ).fetchone()
    return row or (0, 0, 0, 0, "")


def period(
    connection: sqlite3.Connection, account: str, start_ns: int, end_ns: int, sum_up: Callable[[PeriodRows], T]
) -> T:
    """Hand the rows of an account in [start, end), all of one moment of the store, to a function."""
    connection.execute("BEGIN")
    try:
        settled = connection.execute(_SETTLED, (account, start_ns, end_ns)).fetchall()
        bought = connection.execute(_PURCHASES, (account, start_ns, end_ns)).fetchall()
        (without_order,) = connection.execute(_WITHOUT_ORDER, (start_ns, end_ns, account, account)).fetchone()
        rows = PeriodRows(
            spans=map(SpanRow._make, connection.execute(_SPANS, (start_ns, end_ns, account))),
            settlements=[
                Settlement(bot, Decimal(profit), Decimal(staked), bool(traced))
                for bot, profit, staked, traced in settled
            ],
            purchases=dict(bought),
            traces_without_order=without_order,
        )
        return sum_up(rows)
    finally:
        connection.execute("COMMIT")


_SAMPLE_COLUMNS = ", ".join(field.name for field in fields(StatusSample))


def status(connection: sqlite3.Connection, account: str, at_ns: int) -> StatusSample | None:
    """The last sample up to a time, or else the first after it."""
    samples = f"SELECT {_SAMPLE_COLUMNS} FROM status_samples WHERE account = ?"  # noqa: S608 - names of our own fields
    before = f"{samples} AND time_ns <= ? ORDER BY time_ns DESC LIMIT 1"
    row = connection.execute(before, (account, at_ns)).fetchone()
    if row is None:
        row = connection.execute(f"{samples} ORDER BY time_ns LIMIT 1", (account,)).fetchone()
    return None if row is None else _sample(row)


def refused_counts(connection: sqlite3.Connection, account: str, start_ns: int, end_ns: int) -> list[RefusedCount]:
    """The running counts of refused calls in (start, end], oldest first, after the last one before."""
    rows = connection.execute(
        "SELECT time_ns, started_ns, rejected_by_deriv FROM status_samples WHERE account = ?1 AND time_ns <= ?3 AND "
        "time_ns >= COALESCE((SELECT MAX(time_ns) FROM status_samples WHERE account = ?1 AND time_ns <= ?2), 0) "
        "ORDER BY time_ns",
        (account, start_ns, end_ns),
    )
    return [RefusedCount(*row) for row in rows]


def _sample(row: tuple[Any, ...]) -> StatusSample:
    values = dict(zip((field.name for field in fields(StatusSample)), row, strict=True))
    values["is_demo"] = bool(values["is_demo"])
    values["windows"] = tuple(Window(**window) for window in json.loads(values["windows"]))
    values["connections"] = tuple(Connection(**one) for one in json.loads(values["connections"]))
    return StatusSample(**values)


_ORDER_COLUMNS = ", ".join(field.name for field in fields(OrderRecord))


def orders(connection: sqlite3.Connection, account: str, bot: str, state: str, limit: int) -> list[OrderRecord]:
    """The orders that changed last, newest first; an empty ``bot`` or ``state`` matches all."""
    wanted = {"account": account, "bot": bot, "state": state}
    where = " AND ".join(f"{column} = :{column}" for column, value in wanted.items() if value or column == "account")
    rows = connection.execute(
        f"SELECT {_ORDER_COLUMNS} FROM orders WHERE {where} ORDER BY position DESC LIMIT :limit",  # noqa: S608 - as above
        {**wanted, "limit": limit},
    )
    return [_order(row) for row in rows]


def _order(row: tuple[Any, ...]) -> OrderRecord:
    values = dict(zip((field.name for field in fields(OrderRecord)), row, strict=True))
    values["state"] = OrderState(values["state"])
    values["reconciled"] = bool(values["reconciled"])
    for name in MONEY:
        values[name] = None if values[name] is None else Decimal(values[name])
    return OrderRecord(**values)


def open_orders(connection: sqlite3.Connection, account: str) -> dict[str, int]:
    """How many orders of each bot are not final."""
    return dict(
        connection.execute(
            "SELECT bot, COUNT(*) FROM orders WHERE account = ? "
            "AND state IN ('intended', 'sent', 'confirmed', 'unknown') GROUP BY bot",
            (account,),
        ).fetchall()
    )


def settlements(
    connection: sqlite3.Connection, account: str, after_position: int, since_ns: int, limit: int
) -> list[SettledRow]:
    """The first orders that settled after a position of the feed and not before a time, in the feed's order."""
    rows = connection.execute(
        "SELECT settled_position, bot, settled_ns, profit FROM orders "
        "WHERE account = ? AND settled_position > ? AND settled_ns >= ? ORDER BY settled_position LIMIT ?",
        (account, after_position, since_ns, limit),
    )
    return [SettledRow(position, bot, settled_ns, Decimal(profit)) for position, bot, settled_ns, profit in rows]


def settled_orders(connection: sqlite3.Connection, account: str, limit: int) -> list[str]:
    """The ids of the orders that settled last, newest first."""
    rows = connection.execute(
        "SELECT order_id FROM orders WHERE account = ? AND settled_position IS NOT NULL "
        "ORDER BY settled_position DESC LIMIT ?",
        (account, limit),
    )
    return [order_id for (order_id,) in rows]


def spans_of_order(connection: sqlite3.Connection, account: str, order_id: str, limit: int) -> list[SpanRecord]:
    """The spans of every trace that tells of an order, oldest first."""
    found = [SpanRecord(*row) for row in connection.execute(_SPANS_OF_ORDER, (account, order_id, limit))]
    return [replace(span, rate_refused=bool(span.rate_refused)) for span in found]

"""What is asked of the store: SQL in, plain rows out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.orders import OrderRecord, OrderState
from derivfleet.metrics.status import Connection, RunningCount, Saving, StatusSample, Window
from derivfleet.v1 import reports_pb2

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

__all__ = [
    "FORGET_ORDERS",
    "FORGET_SAMPLES",
    "MONEY",
    "OrderSearch",
    "SettledRow",
    "Unknown",
    "amended",
    "first_seen_s",
    "keep_report",
    "last_final",
    "last_report",
    "looked_at",
    "mark",
    "open_orders",
    "order",
    "orders",
    "refused_counts",
    "saved_counts",
    "settled_orders",
    "settlements",
    "status",
    "times_of",
    "unknown_orders",
]

MONEY = ("stake", "buy_price", "payout", "sell_price", "profit")
"""The columns of an order that hold amounts, as decimal strings."""

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


@dataclass(frozen=True, slots=True)
class SettledRow:
    """One settlement on its way to a running sum."""

    position: int
    bot: str
    settled_ns: int
    profit: Decimal


@dataclass(frozen=True, slots=True)
class OrderSearch:
    """Which orders are wanted; an empty field matches all.

    ``text`` is a part of the order id or a whole contract id. ``before`` is a position of the feed, for the next page.
    """

    bot: str = ""
    state: str = ""
    symbol: str = ""
    text: str = ""
    before: int = 0


def mark(connection: sqlite3.Connection, source: str) -> tuple[int, int, int, int, str]:
    """Position, seen-to, refused, base and journal of a feed; zeros if it never was."""
    row = connection.execute(
        "SELECT position, seen_to_ns, refused, base, journal FROM feeds WHERE source = ?", (source,)
    ).fetchone()
    return row or (0, 0, 0, 0, "")


_SAMPLE_COLUMNS = ", ".join(field.name for field in fields(StatusSample))


def status(connection: sqlite3.Connection, account: str, at_ns: int) -> StatusSample | None:
    """The last sample up to a time, or else the first after it."""
    samples = f"SELECT {_SAMPLE_COLUMNS} FROM status_samples WHERE account = ?"  # noqa: S608 - names of our own fields
    before = f"{samples} AND time_ns <= ? ORDER BY time_ns DESC LIMIT 1"
    row = connection.execute(before, (account, at_ns)).fetchone()
    if row is None:
        row = connection.execute(f"{samples} ORDER BY time_ns LIMIT 1", (account,)).fetchone()
    return None if row is None else _sample(row)


def refused_counts(connection: sqlite3.Connection, account: str, start_ns: int, end_ns: int) -> list[RunningCount]:
    """The running counts of refused calls in (start, end], oldest first, after the last one before."""
    return [RunningCount(*row) for row in _since(connection, "rejected_by_deriv", account, start_ns, end_ns)]


def saved_counts(
    connection: sqlite3.Connection, account: str, start_ns: int, end_ns: int
) -> dict[str, list[RunningCount]]:
    """The running counts of saved calls by kind, as :func:`refused_counts` gives those of refused ones."""
    found: dict[str, list[RunningCount]] = {}
    for time_ns, started_ns, savings in _since(connection, "savings", account, start_ns, end_ns):
        for saving in json.loads(savings):
            found.setdefault(saving["kind"], []).append(RunningCount(time_ns, started_ns, saving["calls"]))
    return found


def _since(connection: sqlite3.Connection, column: str, account: str, start_ns: int, end_ns: int) -> list[Any]:
    return connection.execute(
        f"SELECT time_ns, started_ns, {column} FROM status_samples WHERE account = ?1 AND time_ns <= ?3 AND "  # noqa: S608 - a column of ours
        "time_ns >= COALESCE((SELECT MAX(time_ns) FROM status_samples WHERE account = ?1 AND time_ns <= ?2), 0) "
        "ORDER BY time_ns",
        (account, start_ns, end_ns),
    ).fetchall()


def _sample(row: tuple[Any, ...]) -> StatusSample:
    values = dict(zip((field.name for field in fields(StatusSample)), row, strict=True))
    values["is_demo"] = bool(values["is_demo"])
    values["windows"] = tuple(Window(**window) for window in json.loads(values["windows"]))
    values["connections"] = tuple(Connection(**one) for one in json.loads(values["connections"]))
    values["savings"] = tuple(Saving(**one) for one in json.loads(values["savings"]))
    return StatusSample(**values)


_ORDER_COLUMNS = ", ".join(field.name for field in fields(OrderRecord))


_WANTED = {
    "bot": "bot = :bot",
    "state": "state = :state",
    "symbol": "symbol = :symbol",
    "text": "(instr(order_id, :text) > 0 OR CAST(contract_id AS TEXT) = :text)",
    "before": "position < :before",
}


def orders(connection: sqlite3.Connection, account: str, search: OrderSearch, limit: int) -> list[OrderRecord]:
    """The orders that changed last, newest first."""
    wanted = asdict(search)
    where = " AND ".join(["account = :account", *(sql for name, sql in _WANTED.items() if wanted[name])])
    rows = connection.execute(
        f"SELECT {_ORDER_COLUMNS} FROM orders WHERE {where} ORDER BY position DESC LIMIT :limit",  # noqa: S608 - as above
        {**wanted, "account": account, "limit": limit},
    )
    return [_order(row) for row in rows]


def order(connection: sqlite3.Connection, account: str, order_id: str) -> OrderRecord | None:
    """One order by its id."""
    row = connection.execute(
        f"SELECT {_ORDER_COLUMNS} FROM orders WHERE account = ? AND order_id = ?",  # noqa: S608 - as above
        (account, order_id),
    ).fetchone()
    return None if row is None else _order(row)


def _order(row: tuple[Any, ...]) -> OrderRecord:
    values = dict(zip((field.name for field in fields(OrderRecord)), row, strict=True))
    values["state"] = OrderState(values["state"])
    values["reconciled"] = bool(values["reconciled"])
    for name in MONEY:
        values[name] = None if values[name] is None else Decimal(values[name])
    return OrderRecord(**values)


def times_of(connection: sqlite3.Connection, found: Sequence[OrderRecord]) -> dict[str, tuple[int, ...]]:
    """When those of these orders that are kept were bought and settled, and began if they were unknown, by id."""
    times: dict[str, tuple[int, ...]] = {}
    for order in found:
        row = connection.execute(
            "SELECT bought_ns, settled_ns, IIF(state = 'unknown', intended_ns, 0) FROM orders "
            "WHERE account = ? AND order_id = ?",
            (order.account, order.order_id),
        ).fetchone()
        if row is not None:
            times[order.order_id] = row
    return times


def open_orders(connection: sqlite3.Connection, account: str) -> dict[str, int]:
    """How many orders of each bot are not final."""
    return dict(
        connection.execute(
            "SELECT bot, COUNT(*) FROM orders WHERE account = ? "
            "AND state IN ('intended', 'sent', 'confirmed', 'unknown') GROUP BY bot",
            (account,),
        ).fetchall()
    )


@dataclass(frozen=True, slots=True)
class Unknown:
    """Orders of which nobody knows what became of them: how many, how many of them wait for a person, their stakes."""

    orders: int = 0
    doubtful: int = 0
    staked: Decimal = Decimal(0)


def unknown_orders(connection: sqlite3.Connection, account: str, end_ns: int = 2**63 - 1) -> dict[str, Unknown]:
    """Those of each bot that were begun before an end, as of now; bots without any are not there.

    What was not found counts while something that showed later makes it doubtful.
    """
    rows = connection.execute(
        "SELECT bot, COUNT(*), SUM(doubt != ''), GROUP_CONCAT(stake) FROM ("
        "SELECT bot, doubt, stake FROM orders WHERE account = :account AND state = 'unknown' AND intended_ns < :end "
        # This lets the index of open orders answer it.
        "AND state IN ('intended', 'sent', 'confirmed', 'unknown') UNION ALL "
        "SELECT bot, doubt, stake FROM orders WHERE account = :account AND state = 'not_found' AND intended_ns < :end "
        "AND doubt != '') GROUP BY bot",
        {"account": account, "end": end_ns},
    )
    return {
        bot: Unknown(count, doubtful, sum(map(Decimal, (stakes or "0").split(",")), Decimal(0)))
        for bot, count, doubtful, stakes in rows
    }


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


def last_report(connection: sqlite3.Connection, account: str, kind: str, start_s: int) -> reports_pb2.Report | None:
    """The newest revision of a final report; None while it is not final."""
    row = connection.execute(
        "SELECT body FROM reports WHERE account = ? AND kind = ? AND start_s = ? ORDER BY revision DESC LIMIT 1",
        (account, kind, start_s),
    ).fetchone()
    return reports_pb2.Report.FromString(row[0]) if row else None


def last_final(connection: sqlite3.Connection, account: str, kind: str) -> int | None:
    """When the newest period of a kind begins that is final."""
    (start_s,) = connection.execute(
        "SELECT MAX(start_s) FROM reports WHERE account = ? AND kind = ?", (account, kind)
    ).fetchone()
    return start_s


def first_seen_s(connection: sqlite3.Connection, account: str) -> int | None:
    """When the first order was bought or the five minutes of the first span begin."""
    first_ns, first_s = connection.execute(
        "SELECT (SELECT MIN(bought_ns) FROM orders WHERE account = ?1 AND bought_ns != 0), "
        "(SELECT MIN(start_s) FROM span_rollups WHERE level_s = 300 AND account IN (?1, ''))",
        (account,),
    ).fetchone()
    known = [one for one in (first_ns and first_ns // NS_PER_S, first_s) if one is not None]
    return min(known, default=None)


def keep_report(connection: sqlite3.Connection, report: reports_pb2.Report) -> None:
    """Keep one revision of a final report."""
    connection.execute(
        "INSERT INTO reports (account, kind, start_s, revision, end_s, made_ns, complete, body) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            report.account,
            report.kind,
            report.start_epoch_s,
            report.revision,
            report.end_epoch_s,
            report.made_time_ns,
            report.completeness.complete,
            report.SerializeToString(),
        ),
    )


def amended(connection: sqlite3.Connection, account: str, limit: int) -> list[int]:
    """When the windows begin whose final reports may have changed, oldest first."""
    rows = connection.execute(
        "SELECT start_s FROM amended WHERE account = ? ORDER BY start_s LIMIT ?", (account, limit)
    )
    return [start_s for (start_s,) in rows]


def looked_at(connection: sqlite3.Connection, account: str, start_s: int) -> None:
    """Forget that a window was amended."""
    connection.execute("DELETE FROM amended WHERE account = ? AND start_s = ?", (account, start_s))

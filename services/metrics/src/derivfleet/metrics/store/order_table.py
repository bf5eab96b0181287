"""The table of orders: the latest state of each, searched, listed and counted."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from derivfleet.common.order_state import OrderState
from derivfleet.metrics.records.order import OrderRecord

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

__all__ = [
    "FORGET_ORDERS",
    "OrderSearch",
    "SettlementRow",
    "UnknownOrders",
    "keep_orders",
    "open_orders",
    "order",
    "order_times",
    "orders",
    "settled_orders",
    "settlements",
    "unknown_orders",
]

_MONEY = ("stake", "buy_price", "payout", "sell_price", "profit")
"""The columns of an order that hold amounts, as decimal strings."""

# Positions grow with time, so the first order that is young enough ends the search.
FORGET_ORDERS = """
DELETE FROM orders WHERE (account, order_id) IN (
  SELECT account, order_id FROM orders WHERE state IN ('settled', 'denied', 'rejected', 'not_found') AND position <
    COALESCE((SELECT position FROM orders WHERE changed_ns >= ? ORDER BY position LIMIT 1), 9223372036854775807) LIMIT ?
)
"""


@dataclass(frozen=True, slots=True)
class SettlementRow:
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


_COLUMNS = tuple(field.name for field in fields(OrderRecord))
_ORDER_COLUMNS = ", ".join(_COLUMNS)
_KEEP_ORDER = (
    f"INSERT INTO orders ({_ORDER_COLUMNS}, settled_position) VALUES ({', '.join('?' * (len(_COLUMNS) + 1))}) "  # noqa: S608 - names of our own fields, no input
    "ON CONFLICT (account, order_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name not in ("account", "order_id"))
    + ", settled_position = COALESCE(settled_position, excluded.settled_position)"
    " WHERE excluded.position > orders.position"
    # What has settled stays so, also while the feed is read once more from its beginning.
    " AND (orders.settled_position IS NULL OR excluded.settled_position IS NOT NULL)"
)


def keep_orders(connection: sqlite3.Connection, found: Sequence[OrderRecord]) -> None:
    """Keep the latest state of each order."""
    connection.executemany(_KEEP_ORDER, [_order_row(order) for order in found])


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
    for name in _MONEY:
        values[name] = None if values[name] is None else Decimal(values[name])
    return OrderRecord(**values)


def _order_row(order: OrderRecord) -> tuple[object, ...]:
    money = {name: None if (value := getattr(order, name)) is None else str(value) for name in _MONEY}
    row = {**asdict(order), **money}
    return (*row.values(), order.position if order.settled_ns else None)


def order_times(connection: sqlite3.Connection, found: Sequence[OrderRecord]) -> dict[str, tuple[int, ...]]:
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
class UnknownOrders:
    """Orders of which nobody knows what became of them: how many, how many of them wait for a person, their stakes."""

    orders: int = 0
    doubtful: int = 0
    staked: Decimal = Decimal(0)


def unknown_orders(connection: sqlite3.Connection, account: str, end_ns: int = 2**63 - 1) -> dict[str, UnknownOrders]:
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
        bot: UnknownOrders(count, doubtful, sum(map(Decimal, (stakes or "0").split(",")), Decimal(0)))
        for bot, count, doubtful, stakes in rows
    }


def settlements(
    connection: sqlite3.Connection, account: str, after_position: int, since_ns: int, limit: int
) -> list[SettlementRow]:
    """The first orders that settled after a position of the feed and not before a time, in the feed's order."""
    rows = connection.execute(
        "SELECT settled_position, bot, settled_ns, profit FROM orders "
        "WHERE account = ? AND settled_position > ? AND settled_ns >= ? ORDER BY settled_position LIMIT ?",
        (account, after_position, since_ns, limit),
    )
    return [SettlementRow(position, bot, settled_ns, Decimal(profit)) for position, bot, settled_ns, profit in rows]


def settled_orders(connection: sqlite3.Connection, account: str, limit: int) -> list[str]:
    """The ids of the orders that settled last, newest first."""
    rows = connection.execute(
        "SELECT order_id FROM orders WHERE account = ? AND settled_position IS NOT NULL "
        "ORDER BY settled_position DESC LIMIT ?",
        (account, limit),
    )
    return [order_id for (order_id,) in rows]

"""The sums of orders on disk: made anew where an order changed, and added up for any run of time."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING

from derivfleet.common.clock import NS_PER_S
from derivfleet.common.order_state import OrderState
from derivfleet.metrics.store.report_table import mark_amended
from derivfleet.metrics.store.traced_orders import PROVEN
from derivfleet.metrics.sums.profit_and_loss import (
    BOT,
    EMPTY,
    FLEET,
    STRATEGY,
    SYMBOL,
    OpenStake,
    OrderSums,
    ProfitAndLoss,
    Settlement,
    profit_and_loss_of,
)
from derivfleet.metrics.sums.time_levels import HOUR_S, WINDOW_S, pieces

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from derivfleet.metrics.records.order import OrderRecord

__all__ = ["invalidate", "invalidate_changed", "order_sums", "sum_rows"]

_SETTLED = """
SELECT bot, symbol, profit, COALESCE(buy_price, '0'), EXISTS (
  SELECT 1 FROM traced WHERE traced.account = orders.account AND traced.order_id = orders.order_id AND proven
) FROM orders WHERE account = ? AND settled_ns >= ? AND settled_ns < ? AND settled_ns != 0 ORDER BY settled_ns, order_id
"""
_BOUGHT = """
SELECT bot, symbol, COUNT(*) FROM orders WHERE account = ? AND bought_ns >= ? AND bought_ns < ? AND bought_ns != 0
GROUP BY bot, symbol
"""
# Bought before the end and neither settled before the beginning nor given up; or it may have been, as nobody knows.
_HELD = """
SELECT bot, symbol, bought_ns, settled_ns, buy_price FROM orders
WHERE account = ?1 AND settled_ns >= ?2 AND settled_ns != 0 AND bought_ns < ?3 AND bought_ns != 0
  AND buy_price IS NOT NULL
UNION ALL
SELECT bot, symbol, bought_ns, ?3, buy_price FROM orders
WHERE account = ?1 AND state = 'confirmed' AND bought_ns < ?3 AND bought_ns != 0 AND buy_price IS NOT NULL
UNION ALL
SELECT bot, symbol, intended_ns, ?3, stake FROM orders
WHERE account = ?1 AND state = 'unknown' AND intended_ns < ?3 AND stake IS NOT NULL
"""
_STRAYS = f"""
SELECT COUNT(*), GROUP_CONCAT(stake), GROUP_CONCAT(profit) FROM traced
WHERE last_ns >= :start AND last_ns < :end AND account IN (:account, '') AND proven = {PROVEN}
  AND NOT EXISTS (SELECT 1 FROM orders WHERE orders.account = :account AND orders.order_id = traced.order_id)
"""  # noqa: S608 - a number of our own


def invalidate(connection: sqlite3.Connection, touched: set[tuple[str, int]]) -> None:
    """The pieces of order sums that contain these (account, time) are to be made anew."""
    for level_s in (WINDOW_S, HOUR_S):
        level_ns = level_s * NS_PER_S
        starts = {(account, level_s, time_ns // level_ns * level_s) for account, time_ns in touched}
        connection.executemany("DELETE FROM order_pieces WHERE account = ? AND level_s = ? AND start_s = ?", starts)
    mark_amended(connection, {(account, time_ns // NS_PER_S) for account, time_ns in touched})


def invalidate_changed(
    connection: sqlite3.Connection, orders: Iterable[OrderRecord], before: Mapping[str, tuple[int, ...]]
) -> None:
    """Orders have come from the feed: every piece that counts them is to be made anew.

    An order counts where it was bought, where it settled, and in between, while its money was at stake; one whose
    fate is not known from its beginning on. ``before`` holds these times of those that were there.
    """
    touched: set[tuple[str, int]] = set()
    at_stake: dict[str, int] = {}
    for order in orders:
        begun_ns = order.intended_ns if order.state is OrderState.UNKNOWN else 0
        times = [one for one in (begun_ns, order.bought_ns, order.settled_ns, *before.get(order.order_id, ())) if one]
        if times:
            last_ns = max(*times, order.changed_ns)
            for time_ns in range(min(times), last_ns, WINDOW_S * NS_PER_S):
                touched.add((order.account, time_ns))
            touched.add((order.account, last_ns))
            if order.state in (OrderState.CONFIRMED, OrderState.UNKNOWN) or order.order_id in before:
                at_stake[order.account] = min(last_ns, at_stake.get(order.account, last_ns))
        row = connection.execute(
            "SELECT last_ns FROM traced WHERE account = ? AND order_id = ?", (order.account, order.order_id)
        ).fetchone()
        if row is not None:
            touched.add((order.account, row[0]))
    for account, since_ns in at_stake.items():
        # The news may come long after the fact, and what was summed up in between lacks what has been at stake since,
        # or has what no longer was.
        rows = connection.execute(
            "SELECT start_s FROM order_pieces "
            "WHERE account = ? AND level_s = ? AND start_s > ? AND at_ns >= (start_s + level_s) * ?",
            (account, WINDOW_S, since_ns // NS_PER_S, NS_PER_S),
        )
        touched.update((account, start_s * NS_PER_S) for (start_s,) in rows)
    invalidate(connection, touched)


def sum_rows(
    connection: sqlite3.Connection, account: str, start_ns: int, end_ns: int, now_ns: int, strategies: Mapping[str, str]
) -> OrderSums:
    """Sum up the orders of a piece from their rows. What is not settled is at stake until now."""
    settled: defaultdict[tuple[str, str], list[Settlement]] = defaultdict(list)
    bought: defaultdict[tuple[str, str], int] = defaultdict(int)
    held: defaultdict[tuple[str, str], list[OpenStake]] = defaultdict(list)
    for bot, symbol, profit, staked, traced in connection.execute(_SETTLED, (account, start_ns, end_ns)):
        one = Settlement(bot, symbol, Decimal(profit), Decimal(staked), bool(traced))
        for scope in _scopes(bot, symbol, strategies):
            settled[scope].append(one)
    for bot, symbol, count in connection.execute(_BOUGHT, (account, start_ns, end_ns)):
        for scope in _scopes(bot, symbol, strategies):
            bought[scope] += count
    until_ns = max(start_ns, min(end_ns, now_ns))
    for bot, symbol, from_ns, to_ns, amount in connection.execute(_HELD, (account, start_ns, until_ns)):
        one = OpenStake(max(from_ns, start_ns), min(to_ns, until_ns), Decimal(amount))
        if one.to_ns > one.from_ns:
            for scope in _scopes(bot, symbol, strategies):
                held[scope].append(one)
    sums = {
        scope: profit_and_loss_of(settled[scope], bought[scope], held[scope])
        for scope in sorted({*settled, *bought, *held})
    }
    count, stakes, profits = connection.execute(
        _STRAYS, {"account": account, "start": start_ns, "end": end_ns}
    ).fetchone()
    if count:
        fleet = (FLEET, "")
        strays = ProfitAndLoss(strays=count, strays_profit=_total(profits), strays_staked=_total(stakes))
        sums[fleet] = sums.get(fleet, EMPTY).then(strays)
    return sums


def _total(texts: str) -> Decimal:
    return sum((Decimal(text) for text in texts.split(",") if text), Decimal(0))


def _scopes(bot: str, symbol: str, strategies: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return (FLEET, ""), (BOT, bot), (SYMBOL, symbol), (STRATEGY, strategies.get(bot, ""))


def order_sums(
    connection: sqlite3.Connection, account: str, start_s: int, end_s: int, now_ns: int, strategies: Mapping[str, str]
) -> OrderSums:
    """The sums of [start, end): from pieces that are valid, from those that had to be rebuilt, from rows at the edges.

    Both ends are whole minutes. Needs a transaction that may write.
    """
    sums: OrderSums = {}
    for level_s, first_s, last_s in pieces(start_s, end_s):
        if level_s in (WINDOW_S, HOUR_S):
            _rebuild(connection, account, level_s, first_s, last_s, now_ns, strategies)
            _join_kept(sums, connection, account, level_s, first_s, last_s)
        else:
            _join(
                sums, sum_rows(connection, account, first_s * NS_PER_S, last_s * NS_PER_S, now_ns, strategies).items()
            )
    return sums


def _join(sums: OrderSums, later: Iterable[tuple[tuple[str, str], ProfitAndLoss]]) -> None:
    for scope, pnl in later:
        sums[scope] = sums.get(scope, EMPTY).then(pnl)


def _join_kept(
    sums: OrderSums, connection: sqlite3.Connection, account: str, level_s: int, first_s: int, last_s: int
) -> None:
    """Add the pieces of a run that are kept."""
    rows = connection.execute(
        "SELECT scope, name, body FROM order_rollups WHERE level_s = ? AND start_s >= ? AND start_s < ? "
        "AND account = ? ORDER BY start_s",
        (level_s, first_s, last_s, account),
    )
    _join(sums, (((scope, name), ProfitAndLoss.of(body)) for scope, name, body in rows))


def _rebuild(
    connection: sqlite3.Connection,
    account: str,
    level_s: int,
    first_s: int,
    last_s: int,
    now_ns: int,
    strategies: Mapping[str, str],
) -> None:
    """Rebuild the pieces of a run that are not valid: those of an hour from its windows, of a window from its rows."""
    valid = dict(
        connection.execute(
            "SELECT start_s, at_ns FROM order_pieces "
            "WHERE account = ? AND level_s = ? AND start_s >= ? AND start_s < ?",
            (account, level_s, first_s, last_s),
        ).fetchall()
    )
    for start_s in range(first_s, last_s, level_s):
        end_ns = (start_s + level_s) * NS_PER_S
        # A piece that was summed up before its end knows nothing of its rest, not even of money that stayed at stake.
        if start_s in valid and valid[start_s] >= end_ns:
            continue
        if level_s == HOUR_S:
            sums: OrderSums = {}
            _rebuild(connection, account, WINDOW_S, start_s, start_s + level_s, now_ns, strategies)
            _join_kept(sums, connection, account, WINDOW_S, start_s, start_s + level_s)
        else:
            sums = sum_rows(connection, account, start_s * NS_PER_S, end_ns, now_ns, strategies)
        at = (level_s, start_s, account)
        connection.execute("DELETE FROM order_rollups WHERE level_s = ? AND start_s = ? AND account = ?", at)
        connection.executemany(
            "INSERT INTO order_rollups (level_s, start_s, account, scope, name, body) VALUES (?, ?, ?, ?, ?, ?)",
            [(*at, scope, name, pnl.body()) for (scope, name), pnl in sums.items()],
        )
        connection.execute(
            "INSERT OR REPLACE INTO order_pieces (level_s, start_s, account, at_ns) VALUES (?, ?, ?, ?)", (*at, now_ns)
        )

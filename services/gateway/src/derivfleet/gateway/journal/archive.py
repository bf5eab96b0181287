"""What has ended leaves the tables that a start reads: orders go to the archive, old transitions go for good.

An archived order is still found by its id, so that nobody buys it a second time, and by its contract. What the archived
orders add up to is kept beside them.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from itertools import takewhile
from typing import TYPE_CHECKING

from derivfleet.gateway.core.orders.tally import Past

if TYPE_CHECKING:
    from collections.abc import Iterator

    from derivfleet.gateway.journal.store import Row, Step, Store

__all__ = ["tallies", "tidying"]

BATCH = 200
"""Orders that are moved at once: a few milliseconds."""
_COLUMNS = "first_position, account, order_id, bot, state, kind, contract_id, profit, ended_ns, body"
_KEEP_TALLY = (
    "INSERT INTO tallies (account, bot, kind, orders, wins, profit) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (account, bot, kind)"
    " DO UPDATE SET orders = excluded.orders, wins = excluded.wins, profit = excluded.profit"
)
Group = tuple[str, str, str]


def tallies(store: Store, account: str) -> Iterator[Past]:
    """What all orders of an account add up to, by bot and state."""
    for bot, kind, orders, wins, profit in store.read(
        "SELECT bot, kind, orders, wins, profit FROM tallies WHERE account = ?", (account,)
    ):
        yield Past(bot, kind, orders, wins, Decimal(profit))
    # Stakes and payouts are few, so equal profits are many: that is why these sums are exact and quick.
    for bot, kind, profit, orders in store.read(
        "SELECT bot, kind, profit, count(*) FROM orders WHERE account = ? GROUP BY bot, kind, profit", (account,)
    ):
        each = Decimal(profit or 0)
        yield Past(bot, kind, orders, orders if each > 0 else 0, each * orders)


def tidying(store: Store, ended_before_ns: int, told_before_ns: int) -> tuple[list[Step], int, bool]:
    """The next steps of it, up to which position transitions go with them, and whether there may be more to do."""
    ended = store.read(
        "SELECT first_position, account, bot, kind, profit FROM orders"
        " WHERE ended_ns > 0 AND ended_ns < ? ORDER BY ended_ns LIMIT ?",
        (ended_before_ns, BATCH),
    )
    told = store.read("SELECT position, time_ns FROM events ORDER BY position LIMIT ?", (BATCH,))
    old = [row[0] for row in takewhile(lambda row: row[1] < told_before_ns, told)]
    steps: list[Step] = []
    if ended:
        marks = ", ".join("?" * len(ended))
        positions = [row[0] for row in ended]
        steps = [
            (f"INSERT INTO archive SELECT {_COLUMNS} FROM orders WHERE first_position IN ({marks})", positions),  # noqa: S608 - only question marks are put in
            (f"DELETE FROM orders WHERE first_position IN ({marks})", positions),  # noqa: S608 - as above
            *_counted(store, ended),
        ]
    if old:
        steps.append(("DELETE FROM events WHERE position <= ?", (old[-1],)))
        steps.append(("UPDATE journal SET trimmed_to = ?", (old[-1],)))
    return steps, old[-1] if old else 0, BATCH in (len(ended), len(old))


def _counted(store: Store, ended: list[Row]) -> Iterator[Step]:
    """What the archive adds up to with these orders."""
    groups: defaultdict[Group, list[Decimal]] = defaultdict(list)
    for _, account, bot, kind, profit in ended:
        groups[account, bot, kind].append(Decimal(profit or 0))
    for group, profits in groups.items():
        rows = store.read("SELECT orders, wins, profit FROM tallies WHERE account = ? AND bot = ? AND kind = ?", group)
        orders, wins, profit = rows[0] if rows else (0, 0, "0")
        wins += sum(one > 0 for one in profits)
        yield _KEEP_TALLY, (*group, orders + len(profits), wins, str(sum(profits, Decimal(profit))))

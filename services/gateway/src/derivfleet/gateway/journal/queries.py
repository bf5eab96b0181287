"""What the journal is asked. Orders are in one of two tables: ``orders``, or ``archive`` some days after their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.gateway.core.orders.order import FINAL, Order, State
from derivfleet.gateway.journal.records import ORDER, JournalEvent

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from derivfleet.gateway.journal.store import Row, Store

__all__ = ["all_orders", "claimed", "events", "open_orders", "order", "page", "sent_since"]

_OPEN = sorted(set(State) - FINAL)
_OPEN_MARKS = ", ".join("?" * len(_OPEN))
_PAGE = 1000


def order(store: Store, account: str, order_id: str) -> Order | None:
    """One order, wherever it is."""
    rows = store.read(
        "SELECT body FROM orders WHERE account = ? AND order_id = ?"
        " UNION ALL SELECT body FROM archive WHERE account = ? AND order_id = ?",
        (account, order_id, account, order_id),
    )
    return ORDER.validate_json(rows[0][0]) if rows else None


def open_orders(store: Store, account: str) -> list[Order]:
    """Orders whose story has not ended, oldest first; such are never in the archive."""
    rows = store.read(
        f"SELECT body FROM orders WHERE account = ? AND state IN ({_OPEN_MARKS}) ORDER BY first_position",  # noqa: S608 - only question marks are put in
        (account, *(state.value for state in _OPEN)),
    )
    return [ORDER.validate_json(body) for (body,) in rows]


def all_orders(store: Store, account: str) -> Iterator[Order]:
    """Every order, oldest first."""
    position = 0
    while rows := _both(
        store, "account = ? AND first_position > ? ORDER BY first_position", (account, position), _PAGE
    ):
        rows = sorted(rows)[:_PAGE]
        position = rows[-1][0]
        for _, body in rows:
            yield ORDER.validate_json(body)


def page(store: Store, account: str, bot: str, state: str, before_position: int, limit: int) -> tuple[list[Order], int]:
    """Orders newest first, older than a position, and where to go on (0: end)."""
    filters = {"account": account, "bot": bot, "state": state}
    conditions = [f"{column} = ?" for column, value in filters.items() if value]
    parameters: list[object] = [value for value in filters.values() if value]
    if before_position:
        conditions.append("first_position < ?")
        parameters.append(before_position)
    where = f"{' AND '.join(conditions) or '1 = 1'} ORDER BY first_position DESC"
    rows = sorted(_both(store, where, parameters, limit + 1), reverse=True)
    more = rows[limit - 1][0] if len(rows) > limit else 0
    return [ORDER.validate_json(body) for _, body in rows[:limit]], more


def _both(store: Store, where: str, parameters: Collection[object], limit: int) -> list[Row]:
    """Position and body of the first rows of each of the two tables."""
    found: list[Row] = []
    for table in ("orders", "archive"):
        sql = f"SELECT first_position, body FROM {table} WHERE {where} LIMIT ?"  # noqa: S608 - texts of this file
        found += store.read(sql, (*parameters, limit))
    return found


def events(store: Store, account: str, after_position: int, limit: int) -> list[JournalEvent]:
    """Transitions after a position, in order; an empty account matches all."""
    of_account, parameters = ("AND account = ?", (after_position, account)) if account else ("", (after_position,))
    rows = store.read(
        f"SELECT position, time_ns, body FROM events WHERE position > ? {of_account} ORDER BY position LIMIT ?",  # noqa: S608 - as above
        (*parameters, limit),
    )
    return [JournalEvent(position, time_ns, ORDER.validate_json(body)) for position, time_ns, body in rows]


def sent_since(store: Store, account: str, after_ns: int) -> list[str]:
    """The bots of purchases sent after an instant, one for each purchase."""
    # Backwards from the end, so that the rest is not looked at.
    rows = store.read("SELECT position FROM events WHERE time_ns <= ? ORDER BY position DESC LIMIT 1", (after_ns,))
    position, bots = rows[0][0] if rows else 0, list[str]()
    while found := events(store, account, position, _PAGE):
        position = found[-1].position
        bots += [event.order.bot for event in found if event.order.state is State.SENT]
    return bots


def claimed(store: Store, account: str, contract_ids: Collection[int]) -> set[int]:
    """Which of these contracts belong to orders."""
    if not contract_ids:
        return set()
    marks = ", ".join("?" * len(contract_ids))
    which = f"WHERE account = ? AND contract_id > 0 AND contract_id IN ({marks})"
    rows = store.read(
        f"SELECT contract_id FROM orders {which} UNION ALL SELECT contract_id FROM archive {which}",  # noqa: S608 - as above
        (account, *contract_ids, account, *contract_ids),
    )
    return {contract_id for (contract_id,) in rows}


def login_id(store: Store, account: str) -> str:
    """Which of Deriv's accounts the orders of one of ours are about; empty if that was not written down yet."""
    rows = store.read("SELECT login_id FROM logins WHERE account = ?", (account,))
    return rows[0][0] if rows else ""

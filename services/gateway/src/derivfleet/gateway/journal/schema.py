"""The journal's tables, and how an older journal becomes a newer one: one list for every database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.gateway.core.orders.tally import kind
from derivfleet.gateway.journal.records import ORDER, ended_ns_of, profit_of

if TYPE_CHECKING:
    from derivfleet.gateway.journal.store import Step, Store

__all__ = ["VERSION", "NewerJournalError", "prepare"]

# Money is text (decimal strings): the numbers of databases are binary fractions. Times are nanoseconds of fleet time.
_ORDERS = """(
    first_position {key},
    account TEXT NOT NULL,
    order_id TEXT NOT NULL,
    bot TEXT NOT NULL,
    state TEXT NOT NULL,
    kind TEXT NOT NULL,
    contract_id {int} NOT NULL,
    profit TEXT NOT NULL,
    ended_ns {int} NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (account, order_id)
)"""
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE orders (
            account TEXT NOT NULL,
            order_id TEXT NOT NULL,
            bot TEXT NOT NULL,
            state TEXT NOT NULL,
            contract_id {int} NOT NULL,
            first_position {int} NOT NULL,
            body TEXT NOT NULL,
            PRIMARY KEY (account, order_id)
        )""",
        """CREATE TABLE events (
            position {key},
            account TEXT NOT NULL,
            time_ns {int} NOT NULL,
            body TEXT NOT NULL
        )""",
    ),
    (
        """CREATE TABLE blocks (
            account TEXT NOT NULL,
            bucket TEXT NOT NULL,
            opened_ns {int} NOT NULL,
            calls {int} NOT NULL
        )""",
        "CREATE INDEX blocks_by_age ON blocks (account, opened_ns)",
    ),
    (
        # `trimmed_to`: the last position of the feed that is not kept any more. `closed_at`: the last one of all, if
        # the journal was closed in good order.
        """CREATE TABLE journal (
            id TEXT NOT NULL,
            epoch {int} NOT NULL,
            trimmed_to {int} NOT NULL,
            closed_at {int} NOT NULL
        )""",
        f"CREATE TABLE orders_3 {_ORDERS}",
        """INSERT INTO orders_3
            SELECT first_position, account, order_id, bot, state, state, contract_id, '', 0, body FROM orders""",
        "DROP TABLE orders",
        "ALTER TABLE orders_3 RENAME TO orders",
        """CREATE INDEX orders_open ON orders (account, state)
            WHERE state IN ('intended', 'sent', 'unknown', 'confirmed')""",
        "CREATE INDEX orders_ended ON orders (ended_ns) WHERE ended_ns > 0",
        "CREATE UNIQUE INDEX orders_by_contract ON orders (account, contract_id) WHERE contract_id > 0",
        f"CREATE TABLE archive {_ORDERS}",
        "CREATE UNIQUE INDEX archive_by_contract ON archive (account, contract_id) WHERE contract_id > 0",
        # What the orders of the archive add up to, so that a start need not read them.
        """CREATE TABLE tallies (
            account TEXT NOT NULL,
            bot TEXT NOT NULL,
            kind TEXT NOT NULL,
            orders {int} NOT NULL,
            wins {int} NOT NULL,
            profit TEXT NOT NULL,
            PRIMARY KEY (account, bot, kind)
        )""",
    ),
    (
        """CREATE TABLE foreign_trades (
            account TEXT NOT NULL,
            contract_id {int} NOT NULL,
            symbol TEXT NOT NULL,
            price TEXT NOT NULL,
            epoch_s {int} NOT NULL,
            PRIMARY KEY (account, contract_id)
        )""",
    ),
    (
        """CREATE TABLE logins (
            account TEXT PRIMARY KEY,
            login_id TEXT NOT NULL
        )""",
    ),
)
"""Each brings a journal from the version of its index to the next one. Never edit one that was released."""
VERSION = len(_MIGRATIONS)
_WITH_ENDS = 3


class NewerJournalError(Exception):
    """The journal was written by a newer gateway."""


def prepare(store: Store) -> None:
    """Bring a journal to :data:`VERSION`; each step whole or not at all. Raises NewerJournalError, JournalError."""
    version = store.version()
    if version > VERSION:
        raise NewerJournalError(f"has schema {version}, this gateway knows {VERSION}")
    for number in range(version, VERSION):
        steps: list[Step] = [(text.format(int=store.int_type, key=store.key_type), ()) for text in _MIGRATIONS[number]]
        if number + 1 == _WITH_ENDS and version:
            steps += _ends(store)
        store.commit([*steps, store.set_version(number + 1)], durable=True)


def _ends(store: Store) -> list[Step]:
    """What the orders of an older journal count as, when they ended, and with what profit."""
    steps: list[Step] = []
    for first_position, body in store.read("SELECT first_position, body FROM orders"):
        order = ORDER.validate_json(body)
        ended_ns = ended_ns_of(order, order.settled_time_ns or order.answered_time_ns)
        row = (kind(order), profit_of(order), ended_ns, first_position)
        steps.append(("UPDATE orders SET kind = ?, profit = ?, ended_ns = ? WHERE first_position = ?", row))
    return steps

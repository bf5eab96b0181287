"""The journal in one SQLite file (WAL).

Writes are synchronous on purpose: an order's next step must not begin before its last one is on disk, and a commit
takes tens of microseconds. In WAL mode with ``synchronous=NORMAL`` a commit survives the death of the process.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from derivfleet.common.errors import ConfigurationError
from derivfleet.gateway.core.blocks import Block
from derivfleet.gateway.core.orders import FINAL, Order, State
from derivfleet.gateway.journal.checkpoints import Checkpoints

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Journal", "JournalError", "JournalEvent"]

SCHEMA_VERSION = 2
SCHEMA = """
CREATE TABLE orders (
    account TEXT NOT NULL,
    order_id TEXT NOT NULL,
    bot TEXT NOT NULL,
    state TEXT NOT NULL,
    contract_id INTEGER NOT NULL,
    first_position INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (account, order_id)
) WITHOUT ROWID;
CREATE INDEX orders_by_age ON orders (account, first_position);
CREATE INDEX orders_open ON orders (account, state) WHERE state IN ('intended', 'sent', 'unknown', 'confirmed');
CREATE UNIQUE INDEX orders_by_contract ON orders (account, contract_id) WHERE contract_id != 0;
CREATE TABLE events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    body TEXT NOT NULL
);
"""
BLOCKS_SCHEMA = """
CREATE TABLE blocks (
    account TEXT NOT NULL,
    bucket TEXT NOT NULL,
    opened_ns INTEGER NOT NULL,
    calls INTEGER NOT NULL
);
CREATE INDEX blocks_by_age ON blocks (account, opened_ns);
"""
BLOCKS_KEPT_NS = 2 * 3600 * 10**9
_ORDER = TypeAdapter(Order)
MOST_PAGES = 10_000
"""Of 4 kB, in the write-ahead log before a commit tidies it up itself: see ``checkpoints``, which does that aside."""
RECENT_ORDERS = 5_000
"""Orders kept in memory as they were written or read last, about a kilobyte each: most questions are about them."""


class JournalError(Exception):
    """The journal could not be written, as on a full disk. Nothing was."""


@dataclass(frozen=True, slots=True)
class JournalEvent:
    """One transition: the order as it was after it."""

    position: int
    time_ns: int
    order: Order


class Journal:
    """All orders of all accounts, and every transition in order."""

    def __init__(self, path: Path, key: str) -> None:
        """Open or create; raises ConfigurationError naming ``key`` if that cannot be done, or another has it open."""
        self._lock = _locked(path, key)
        self._recent: OrderedDict[tuple[str, str], Order] = OrderedDict()
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(f"PRAGMA wal_autocheckpoint={MOST_PAGES}")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._db.executescript(f"BEGIN; {SCHEMA} {BLOCKS_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
            elif version == 1:
                self._db.executescript(f"BEGIN; {BLOCKS_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
            elif version != SCHEMA_VERSION:
                raise ConfigurationError(key, f"{path} has schema {version}, this gateway knows {SCHEMA_VERSION}")
        except sqlite3.Error as error:
            os.close(self._lock)
            raise ConfigurationError(key, f"cannot open {path}: {error}") from None
        self._checkpoints = Checkpoints(path)

    def write(self, order: Order, time_ns: int) -> int:
        """Write down an order's newest transition; returns its position in the feed. Raises JournalError."""
        body = _ORDER.dump_json(order).decode()
        try:
            position = self._write(order, time_ns, body)
        except sqlite3.OperationalError as error:
            raise JournalError(f"the order journal cannot be written: {error}") from error
        self._remember(order)
        return position

    def _remember(self, order: Order) -> None:
        key = (order.account, order.order_id)
        self._recent[key] = order
        self._recent.move_to_end(key)
        if len(self._recent) > RECENT_ORDERS:
            self._recent.popitem(last=False)

    def _write(self, order: Order, time_ns: int, body: str) -> int:
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            position = self._db.execute(
                "INSERT INTO events (account, time_ns, body) VALUES (?, ?, ?)", (order.account, time_ns, body)
            ).lastrowid
            if position is None:
                raise sqlite3.DatabaseError("the journal gave no position")
            self._db.execute(
                "INSERT INTO orders (account, order_id, bot, state, contract_id, first_position, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (account, order_id) DO UPDATE SET"
                " state = excluded.state, contract_id = excluded.contract_id, body = excluded.body",
                (order.account, order.order_id, order.bot, order.state, order.contract_id, position, body),
            )
        return position

    def order(self, account: str, order_id: str) -> Order | None:
        """One order, or None."""
        recent = self._recent.get((account, order_id))
        if recent is not None:
            return recent
        row = self._db.execute(
            "SELECT body FROM orders WHERE account = ? AND order_id = ?", (account, order_id)
        ).fetchone()
        if row is None:
            return None
        order = _ORDER.validate_json(row[0])
        self._remember(order)
        return order

    def open_orders(self, account: str) -> list[Order]:
        """Orders whose story has not ended, oldest first."""
        states = sorted(set(State) - FINAL)
        marks = ",".join("?" * len(states))
        rows = self._db.execute(
            f"SELECT body FROM orders WHERE account = ? AND state IN ({marks}) ORDER BY first_position",  # noqa: S608 - only question marks are put in
            (account, *states),
        )
        return [_ORDER.validate_json(body) for (body,) in rows]

    def all_orders(self, account: str) -> Iterator[Order]:
        """Every order, oldest first."""
        rows = self._db.execute("SELECT body FROM orders WHERE account = ? ORDER BY first_position", (account,))
        for (body,) in rows:
            yield _ORDER.validate_json(body)

    def page(self, account: str, bot: str, state: str, before_position: int, limit: int) -> tuple[list[Order], int]:
        """Orders newest first, older than a position, and where to go on (0: end). Empty filters match all."""
        rows = self._db.execute(
            "SELECT first_position, body FROM orders WHERE (account = ?1 OR ?1 = '') AND (bot = ?2 OR ?2 = '')"
            " AND (state = ?3 OR ?3 = '') AND (first_position < ?4 OR ?4 = 0)"
            " ORDER BY first_position DESC LIMIT ?5",
            (account, bot, state, before_position, limit + 1),
        ).fetchall()
        more = rows[limit - 1][0] if len(rows) > limit else 0
        return [_ORDER.validate_json(body) for _, body in rows[:limit]], more

    def events(self, account: str, after_position: int, limit: int) -> list[JournalEvent]:
        """Transitions after a position, in order; an empty account matches all."""
        rows = self._db.execute(
            "SELECT position, time_ns, body FROM events WHERE position > ?1 AND (account = ?2 OR ?2 = '')"
            " ORDER BY position LIMIT ?3",
            (after_position, account, limit),
        )
        return [JournalEvent(position, time_ns, _ORDER.validate_json(body)) for position, time_ns, body in rows]

    def last_position(self) -> int:
        """The position of the newest transition; 0 if there is none."""
        (position,) = self._db.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()
        return int(position)

    def claimed(self, account: str, contract_ids: Iterable[int]) -> set[int]:
        """Which of these contracts belong to orders."""
        found: set[int] = set()
        for contract_id in contract_ids:
            row = self._db.execute(
                "SELECT 1 FROM orders WHERE account = ? AND contract_id = ? AND contract_id != 0",
                (account, contract_id),
            ).fetchone()
            if row is not None:
                found.add(contract_id)
        return found

    def write_blocks(self, account: str, blocks: Iterable[Block]) -> None:
        """Write down calls about to be made, and forget those that no window counts. Raises JournalError."""
        rows = [(account, block.bucket, block.opened_ns, block.calls) for block in blocks]
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                self._db.executemany("INSERT INTO blocks VALUES (?, ?, ?, ?)", rows)
                oldest_ns = min((opened_ns for _, _, opened_ns, _ in rows), default=0) - BLOCKS_KEPT_NS
                self._db.execute("DELETE FROM blocks WHERE account = ? AND opened_ns < ?", (account, oldest_ns))
        except sqlite3.OperationalError as error:
            raise JournalError(f"the order journal cannot be written: {error}") from error

    def blocks(self, account: str, after_ns: int) -> list[Block]:
        """Blocks of calls opened after an instant, oldest first."""
        rows = self._db.execute(
            "SELECT bucket, opened_ns, calls FROM blocks WHERE account = ? AND opened_ns > ? ORDER BY opened_ns",
            (account, after_ns),
        )
        return [Block(bucket, opened_ns, calls) for bucket, opened_ns, calls in rows]

    def close(self) -> None:
        self._checkpoints.stop()
        self._db.close()
        os.close(self._lock)


def _locked(path: Path, key: str) -> int:
    """A lock that ends with the process: two gateways on one journal would each trade the other's orders."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(key, f"cannot open {path}: {error}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ConfigurationError(key, f"{path} is in use by another gateway") from None
    return lock

"""The tables of the store, and how an older store becomes a newer one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

__all__ = ["VERSION", "ForeignDatabaseError", "NewerStoreError", "prepare"]

# Money is TEXT (decimal strings): SQLite's numbers are binary fractions. Times are nanoseconds of fleet time.
# An order's `position` is the feed's and grows with every change, so a replica can follow the table by it;
# `settled_position` stays what it was when the order settled, so a sum over settlements counts each one once.
_VERSION_1 = """
CREATE TABLE spans (
  trace_id TEXT NOT NULL, span_id TEXT NOT NULL, parent_id TEXT NOT NULL,
  name TEXT NOT NULL, service TEXT NOT NULL, start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL,
  account TEXT NOT NULL, bot TEXT NOT NULL, order_id TEXT NOT NULL,
  call TEXT NOT NULL, bucket TEXT NOT NULL, state TEXT NOT NULL, error_code TEXT NOT NULL,
  rate_refused INTEGER NOT NULL, attributes TEXT NOT NULL,
  PRIMARY KEY (trace_id, span_id)
) WITHOUT ROWID;
CREATE INDEX spans_by_end ON spans (end_ns);
CREATE INDEX spans_by_order ON spans (order_id, name) WHERE order_id != '';

CREATE TABLE orders (
  account TEXT NOT NULL, order_id TEXT NOT NULL, bot TEXT NOT NULL,
  contract_type TEXT NOT NULL, symbol TEXT NOT NULL, stake TEXT, duration INTEGER NOT NULL,
  duration_unit TEXT NOT NULL, barrier TEXT NOT NULL,
  state TEXT NOT NULL, contract_id INTEGER NOT NULL,
  buy_price TEXT, payout TEXT, sell_price TEXT, profit TEXT,
  error_code TEXT NOT NULL, error_message TEXT NOT NULL, reconciled INTEGER NOT NULL,
  intended_ns INTEGER NOT NULL, bought_ns INTEGER NOT NULL, settled_ns INTEGER NOT NULL,
  trace_id TEXT NOT NULL, position INTEGER NOT NULL, changed_ns INTEGER NOT NULL,
  settled_position INTEGER,
  PRIMARY KEY (account, order_id)
) WITHOUT ROWID;
CREATE INDEX orders_by_settlement ON orders (settled_ns) WHERE settled_ns != 0;
CREATE INDEX orders_by_purchase ON orders (bought_ns) WHERE bought_ns != 0;
CREATE INDEX orders_by_change ON orders (position);
CREATE INDEX orders_by_bot ON orders (account, bot, position);
CREATE INDEX orders_by_settled_position ON orders (settled_position) WHERE settled_position IS NOT NULL;
CREATE INDEX orders_open ON orders (account, bot) WHERE state IN ('intended', 'sent', 'confirmed', 'unknown');

CREATE TABLE feeds (
  source TEXT PRIMARY KEY,
  position INTEGER NOT NULL,
  seen_to_ns INTEGER NOT NULL,
  refused INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE status_samples (
  account TEXT NOT NULL, time_ns INTEGER NOT NULL, started_ns INTEGER NOT NULL,
  dialect TEXT NOT NULL, login_id TEXT NOT NULL, currency TEXT NOT NULL, balance TEXT NOT NULL,
  is_demo INTEGER NOT NULL, rejected_by_deriv INTEGER NOT NULL, calls_sent INTEGER NOT NULL,
  foreign_trades INTEGER NOT NULL, windows TEXT NOT NULL, connections TEXT NOT NULL,
  PRIMARY KEY (account, time_ns)
) WITHOUT ROWID;
"""

# Positions of the feed are those of one journal. `journal` is the one that is read now, and `base` is added to its
# positions, so that those kept here go on growing when the gateway gets another journal.
_FEED_JOURNALS = """
ALTER TABLE feeds ADD COLUMN base INTEGER NOT NULL DEFAULT 0;
ALTER TABLE feeds ADD COLUMN journal TEXT NOT NULL DEFAULT '';
"""

_MIGRATIONS: tuple[str, ...] = (_VERSION_1, _FEED_JOURNALS)
"""Each brings a store from the version of its index to the next one. Never edit one that was released."""

VERSION = len(_MIGRATIONS)


class NewerStoreError(Exception):
    """The store was written by a newer version of the service."""


class ForeignDatabaseError(Exception):
    """The file is a database, but not one of ours."""


def prepare(connection: sqlite3.Connection) -> None:
    """Bring a store to :data:`VERSION`. Raises NewerStoreError, ForeignDatabaseError or sqlite3.Error.

    The connection must be in autocommit mode; each step is one transaction, so a crash leaves a whole version.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise NewerStoreError(f"version {version}, this service knows {VERSION}")
    if version == 0 and connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone():
        raise ForeignDatabaseError
    for number in range(version, VERSION):
        connection.executescript(f"BEGIN;{_MIGRATIONS[number]}PRAGMA user_version = {number + 1};COMMIT;")

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

# Raw spans lie in `parcels`, a span batch a row: what one commit brought, compressed, as OTLP. What is asked of them is
# summed up while they come in. `span_keys` says which spans are there already. It is ordered by the window of a span's
# end, so that what comes in touches only the newest pages, and a span that is sent again finds itself. A batch is in
# the rollups if its id is at most the mark `rolled_parcel`. Later ones are summed up after a crash. `span_rollups`
# and `order_rollups` hold one row for each piece of time (`level_s` long) and each bot or other name. The pieces of a
# level add up to those of the next. A row of `order_pieces` says that its piece is valid as of `at_ns`. It goes when
# an order of the piece changes, and the piece is rebuilt when somebody asks. `traced` holds what spans say of orders
# (`proven`: the gateway tells that it exists). `answered` says which purchases of bots reached the gateway,
# `unanswered` which failed and did not. A row of `reports` is one revision of one report; revision 1 is the first final
# one. Its `body` is a serialized derivfleet.v1.Report. So a report's key is account, kind, start_s, revision, and a
# line's that and the bot.
_SUMS = """
DROP TABLE spans;
CREATE TABLE parcels (
  id INTEGER PRIMARY KEY AUTOINCREMENT, received_ns INTEGER NOT NULL,
  first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL,
  spans INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX parcels_by_end ON parcels (last_ns);
CREATE TABLE span_keys (
  window INTEGER NOT NULL, key BLOB NOT NULL,
  PRIMARY KEY (window, key)
) WITHOUT ROWID;
CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE span_rollups (
  level_s INTEGER NOT NULL, start_s INTEGER NOT NULL, account TEXT NOT NULL, bot TEXT NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (level_s, start_s, account, bot)
) WITHOUT ROWID;
CREATE TABLE traced (
  account TEXT NOT NULL, order_id TEXT NOT NULL, proven INTEGER NOT NULL,
  first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, stake TEXT NOT NULL, profit TEXT NOT NULL,
  PRIMARY KEY (account, order_id)
) WITHOUT ROWID;
CREATE INDEX traced_by_end ON traced (last_ns);
CREATE TABLE answered (key BLOB PRIMARY KEY, end_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE unanswered (
  key BLOB PRIMARY KEY, end_ns INTEGER NOT NULL, account TEXT NOT NULL, bot TEXT NOT NULL, code TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE order_rollups (
  level_s INTEGER NOT NULL, start_s INTEGER NOT NULL, account TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (level_s, start_s, account, scope, name)
) WITHOUT ROWID;
CREATE TABLE order_pieces (
  level_s INTEGER NOT NULL, start_s INTEGER NOT NULL, account TEXT NOT NULL, at_ns INTEGER NOT NULL,
  PRIMARY KEY (account, level_s, start_s)
) WITHOUT ROWID;

CREATE TABLE reports (
  account TEXT NOT NULL, kind TEXT NOT NULL, start_s INTEGER NOT NULL, revision INTEGER NOT NULL,
  end_s INTEGER NOT NULL, made_ns INTEGER NOT NULL, complete INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (account, kind, start_s, revision)
) WITHOUT ROWID;
CREATE TABLE amended (
  account TEXT NOT NULL, start_s INTEGER NOT NULL,
  PRIMARY KEY (account, start_s)
) WITHOUT ROWID;
ALTER TABLE status_samples ADD COLUMN savings TEXT NOT NULL DEFAULT '[]';
"""

# `alerts.change` and `report_changes.change` grow with every change, so a replica can follow these tables by them as it
# follows the orders by their position: that is its outbox, and `replicas` is how far each has been copied.
# A row of `reports` is one revision of one report; `body` is a serialized derivfleet.v1.Report.
# A row of `watches` is the state of one rule and bot. A notice is what one evaluation of the rules has to tell over one
# channel; it stays until it is sent.
_WATCHING = """
CREATE TABLE watches (
  rule TEXT NOT NULL, bot TEXT NOT NULL, phase TEXT NOT NULL,
  since_ns INTEGER NOT NULL, fired_ns INTEGER NOT NULL, told_fired_ns INTEGER NOT NULL,
  PRIMARY KEY (rule, bot)
) WITHOUT ROWID;
CREATE TABLE alerts (
  rule TEXT NOT NULL, bot TEXT NOT NULL, fired_ns INTEGER NOT NULL,
  condition TEXT NOT NULL, threshold TEXT NOT NULL, value TEXT NOT NULL, cleared_ns INTEGER NOT NULL,
  change INTEGER NOT NULL,
  PRIMARY KEY (rule, bot, fired_ns)
) WITHOUT ROWID;
CREATE UNIQUE INDEX alerts_by_change ON alerts (change);
CREATE TABLE silences (
  id INTEGER PRIMARY KEY AUTOINCREMENT, rule TEXT NOT NULL, bot TEXT NOT NULL,
  until_ns INTEGER NOT NULL, reason TEXT NOT NULL
);
CREATE TABLE notices (
  id INTEGER PRIMARY KEY AUTOINCREMENT, channel TEXT NOT NULL, text TEXT NOT NULL,
  made_ns INTEGER NOT NULL, ended_ns INTEGER NOT NULL, problem TEXT NOT NULL
);
CREATE INDEX notices_waiting ON notices (channel, id) WHERE ended_ns = 0;
CREATE TABLE report_changes (
  change INTEGER PRIMARY KEY AUTOINCREMENT,
  account TEXT NOT NULL, kind TEXT NOT NULL, start_s INTEGER NOT NULL, revision INTEGER NOT NULL
);
INSERT INTO report_changes (account, kind, start_s, revision)
  SELECT account, kind, start_s, revision FROM reports ORDER BY made_ns, account, kind, start_s, revision;
CREATE TRIGGER reports_change AFTER INSERT ON reports BEGIN
  INSERT INTO report_changes (account, kind, start_s, revision)
    VALUES (NEW.account, NEW.kind, NEW.start_s, NEW.revision);
END;
CREATE TRIGGER reports_forgotten AFTER DELETE ON reports BEGIN
  DELETE FROM report_changes WHERE account = OLD.account AND kind = OLD.kind AND start_s = OLD.start_s
    AND revision = OLD.revision;
END;
CREATE INDEX report_changes_by_report ON report_changes (account, kind, start_s, revision);
CREATE TABLE replicas (
  name TEXT PRIMARY KEY, cursor INTEGER NOT NULL, rows INTEGER NOT NULL, refused INTEGER NOT NULL
) WITHOUT ROWID;
"""

_DOUBTS = """
ALTER TABLE orders ADD COLUMN doubt TEXT NOT NULL DEFAULT '';
"""

_LATE_DOUBTS = """
CREATE INDEX orders_doubtful ON orders (account, bot) WHERE state = 'not_found' AND doubt != '';
"""

_MIGRATIONS: tuple[str, ...] = (_VERSION_1, _FEED_JOURNALS, _SUMS, _WATCHING, _DOUBTS, _LATE_DOUBTS)
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

"""The table of final reports and their revisions, and which of them are to be looked at again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.sums.time_levels import WINDOW_S
from derivfleet.v1 import reports_pb2

if TYPE_CHECKING:
    import sqlite3

__all__ = [
    "amended_windows",
    "clear_amended",
    "first_seen_s",
    "keep_report",
    "last_final",
    "last_report",
    "mark_amended",
]


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


def mark_amended(connection: sqlite3.Connection, touched: set[tuple[str, int]]) -> None:
    """Reports that were final and contain these (account, second) are to be looked at again."""
    connection.executemany(
        "INSERT OR IGNORE INTO amended (account, start_s) SELECT account, start_s FROM reports "
        "WHERE account = ? AND kind = 'window' AND start_s = ? AND revision = 1",
        {(account, time_s - time_s % WINDOW_S) for account, time_s in touched},
    )


def amended_windows(connection: sqlite3.Connection, account: str, limit: int) -> list[int]:
    """When the windows begin whose final reports may have changed, oldest first."""
    rows = connection.execute(
        "SELECT start_s FROM amended WHERE account = ? ORDER BY start_s LIMIT ?", (account, limit)
    )
    return [start_s for (start_s,) in rows]


def clear_amended(connection: sqlite3.Connection, account: str, start_s: int) -> None:
    """Forget that a window was amended."""
    connection.execute("DELETE FROM amended WHERE account = ? AND start_s = ?", (account, start_s))

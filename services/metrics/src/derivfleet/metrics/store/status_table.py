"""The table of status samples: what the gateway said of its accounts, and how its running counts grew."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from derivfleet.metrics.records.gateway_status import CallsSaved, Connection, QuotaWindow, RunningCount, StatusSample

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

__all__ = ["FORGET_SAMPLES", "keep_samples", "refused_counts", "saved_counts", "status"]

FORGET_SAMPLES = (
    "DELETE FROM status_samples WHERE (account, time_ns) IN "
    "(SELECT account, time_ns FROM status_samples WHERE time_ns < ? LIMIT ?)"
)
_COLUMNS = tuple(field.name for field in fields(StatusSample))
_SAMPLE_COLUMNS = ", ".join(_COLUMNS)
_KEEP_SAMPLE = (
    f"INSERT INTO status_samples ({_SAMPLE_COLUMNS}) VALUES ({', '.join('?' * len(_COLUMNS))}) "  # noqa: S608 - names of our own fields, no input
    "ON CONFLICT (account, time_ns) DO NOTHING"
)


def keep_samples(connection: sqlite3.Connection, samples: Sequence[StatusSample]) -> None:
    """Keep samples; one of a time that is there already changes nothing."""
    connection.executemany(_KEEP_SAMPLE, [_sample_row(sample) for sample in samples])


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
    values["windows"] = tuple(QuotaWindow(**window) for window in json.loads(values["windows"]))
    values["connections"] = tuple(Connection(**one) for one in json.loads(values["connections"]))
    values["savings"] = tuple(CallsSaved(**one) for one in json.loads(values["savings"]))
    return StatusSample(**values)


def _sample_row(sample: StatusSample) -> tuple[object, ...]:
    row = asdict(sample)
    return (*(json.dumps(value) if isinstance(value, tuple | list) else value for value in row.values()),)

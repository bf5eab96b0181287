"""What is copied: for each table the rows after a cursor, as Supabase's columns want them.

Money is a decimal string on its way: PostgreSQL's numeric takes it as it is. A time is an ISO 8601 text in UTC with
microseconds. The store's own nanoseconds are kept where order depends on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict

from derivfleet.v1 import reports_pb2

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["FLEETS", "TABLES", "Entry", "Json", "Table", "Target", "Waiting", "iso"]

Json = dict[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the outbox: its cursor, and the rows that it becomes (a report is a row for each bot)."""

    cursor: int
    rows: Sequence[Json]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits to be copied: how many entries, and when the oldest of them was made (0 if none waits)."""

    entries: int
    oldest_ns: int


@dataclass(frozen=True, slots=True)
class Target:
    """One table at Supabase; ``key``: its columns that tell rows apart, with commas between."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the store and where it goes. ``read``: of a fleet, after a cursor, so many, in order."""

    target: Target
    read: Callable[[sqlite3.Connection, str, int, int], list[Entry]]
    waiting: Callable[[sqlite3.Connection, int], Waiting]


def iso(time_ns: int) -> str | None:
    """A time for PostgreSQL; None for 0, which means that there is none."""
    return (_EPOCH + timedelta(microseconds=time_ns // 1000)).isoformat() if time_ns else None


_ORDER_COLUMNS = (
    "position, account, order_id, bot, contract_type, symbol, stake, duration, duration_unit, barrier, state, "
    "contract_id, buy_price, payout, sell_price, profit, error_code, error_message, reconciled, intended_ns, "
    "bought_ns, settled_ns, trace_id, changed_ns, doubt"
)


def _orders(connection: sqlite3.Connection, fleet: str, after: int, limit: int) -> list[Entry]:
    found = _rows(
        connection,
        f"SELECT {_ORDER_COLUMNS} FROM orders WHERE position > ? ORDER BY position LIMIT ?",  # noqa: S608 - our own names
        after,
        limit,
    )
    entries: list[Entry] = []
    for row in found:
        times = {f"{name}_at": iso(row.pop(f"{name}_ns")) for name in ("intended", "bought", "settled", "changed")}
        own = {"fleet": fleet, "reconciled": bool(row.pop("reconciled")), "contract_id": row.pop("contract_id") or None}
        entries.append(Entry(row["position"], [{**row, **own, **times}]))
    return entries


def _alerts(connection: sqlite3.Connection, fleet: str, after: int, limit: int) -> list[Entry]:
    found = _rows(connection, "SELECT * FROM alerts WHERE change > ? ORDER BY change LIMIT ?", after, limit)
    entries: list[Entry] = []
    for row in found:
        times = {f"{name}_at": iso(row.pop(f"{name}_ns")) for name in ("fired", "cleared")}
        entries.append(Entry(row["change"], [{**row, "fleet": fleet, **times}]))
    return entries


def _reports(connection: sqlite3.Connection, fleet: str, after: int, limit: int) -> list[Entry]:
    found = connection.execute(
        "SELECT change, kind, revision, made_ns, complete, body FROM report_changes "
        "JOIN reports USING (account, kind, start_s, revision) WHERE change > ? ORDER BY change LIMIT ?",
        (after, limit),
    )
    entries: list[Entry] = []
    rows = 0
    for change, kind, revision, made_ns, complete, body in found:
        report = reports_pb2.Report.FromString(body)
        entries.append(Entry(change, list(_report_rows(fleet, kind, revision, made_ns, complete, report))))
        # A report of a thousand bots is a thousand rows: they are not all read to be thrown away.
        rows += len(entries[-1].rows)
        if rows >= limit:
            break
    return entries


def _report_rows(
    fleet: str, kind: str, revision: int, made_ns: int, complete: int, report: reports_pb2.Report
) -> Iterable[Json]:
    """One row for the fleet (its bot is empty), and one for each bot."""
    shared: Json = {
        "fleet": fleet,
        "account": report.account,
        "period": kind,
        "start_at": iso(report.start_epoch_s * 1_000_000_000),
        "end_at": iso(report.end_epoch_s * 1_000_000_000),
        "revision": revision,
        "complete": bool(complete),
        "made_at": iso(made_ns),
    }
    whole: Json = _plain(report)
    details = {name: whole[name] for name in whole if name not in ("bots", "fleet", "account")}
    for one, detail in ((report.fleet, details), *((bot, {}) for bot in report.bots)):
        plain = _plain(one)
        yield {
            **shared,
            "bot": one.bot,
            "ops": one.ops,
            "buys": one.buys,
            "settled": one.settled,
            "wins": one.wins,
            "profit": one.profit or "0",
            "staked": one.staked or "0",
            "phases": plain.get("phases", []),
            "errors": plain.get("errors", []),
            "details": detail,
        }


def _plain(message: reports_pb2.Report | reports_pb2.BotReport) -> Json:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _rows(connection: sqlite3.Connection, statement: str, after: int, limit: int) -> list[Json]:
    found = connection.execute(statement, (after, limit))
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found]


def _waiting(table: str, cursor: str, made: str, where: str = "") -> Callable[[sqlite3.Connection, int], Waiting]:
    def waiting(connection: sqlite3.Connection, after: int) -> Waiting:
        (count,) = connection.execute(f"SELECT COUNT(*) FROM {table} WHERE {cursor} > ?", (after,)).fetchone()  # noqa: S608 - our own names
        oldest = connection.execute(
            f"SELECT {made} FROM {table} {where} WHERE {cursor} > ? ORDER BY {cursor} LIMIT 1",  # noqa: S608 - as above
            (after,),
        ).fetchone()
        return Waiting(count, oldest[0] if oldest else 0)

    return waiting


TABLES = (
    Table(Target("orders", "fleet,account,order_id"), _orders, _waiting("orders", "position", "changed_ns")),
    Table(
        Target("reports", "fleet,account,period,start_at,bot,revision"),
        _reports,
        _waiting("report_changes", "change", "made_ns", "JOIN reports USING (account, kind, start_s, revision)"),
    ),
    Table(
        Target("alerts", "fleet,rule,bot,fired_at"), _alerts, _waiting("alerts", "change", "MAX(fired_ns, cleared_ns)")
    ),
)
"""In the order in which they are copied."""

FLEETS = Target("fleets", "fleet")
"""One row, put there at the start: what all others refer to."""

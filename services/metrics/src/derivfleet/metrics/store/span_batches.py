"""Raw spans on disk: kept once, in compressed batches, until they are old."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from derivfleet.metrics.records.otlp import records_of, rows_of, without
from derivfleet.metrics.sums.time_levels import WINDOW_S

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from derivfleet.metrics.records.otlp import Received
    from derivfleet.metrics.records.span import SpanRecord, SpanRow

__all__ = ["FORGET_BATCHES", "FORGET_KEYS", "SpanBatch", "batches_after", "keep_batch", "spans_of_order"]

_WINDOW_NS = WINDOW_S * 1_000_000_000
_KEEP_KEY = "INSERT OR IGNORE INTO span_keys (window, key) VALUES (?, ?)"
_KEEP_BATCH = "INSERT INTO parcels (received_ns, first_ns, last_ns, spans, body) VALUES (?, ?, ?, ?, ?)"
_LEVEL = 1
"""Of compression: twice as good costs four times as long."""
_NEAR_NS = 60 * 1_000_000_000
"""How long before an order's first span and after its last the other spans of its traces are looked for."""

FORGET_BATCHES = "DELETE FROM parcels WHERE id IN (SELECT id FROM parcels WHERE last_ns < ? LIMIT ?)"
FORGET_KEYS = f"""
DELETE FROM span_keys WHERE (window, key) IN
  (SELECT window, key FROM span_keys WHERE window < ? / {_WINDOW_NS} LIMIT ?)
"""  # noqa: S608 - a number of our own


class SpanBatch:
    """What one commit kept of several exports: its spans, and how many of each export were new."""

    __slots__ = ("kept", "number", "received_ns", "rows")

    def __init__(self, number: int, received_ns: int, rows: list[SpanRow], kept: list[int]) -> None:
        self.number = number
        self.received_ns = received_ns
        self.rows = rows
        self.kept = kept


def keep_batch(connection: sqlite3.Connection, exports: Sequence[Received], received_ns: int) -> SpanBatch:
    """Keep the spans of some exports that are not there yet, in the transaction that is open."""
    rows: list[SpanRow] = []
    bodies: list[bytes] = []
    kept: list[int] = []
    for export in exports:
        keys = [(row.end_ns // _WINDOW_NS, row.key) for row in export.rows]
        connection.execute("SAVEPOINT export")
        new = max(0, connection.executemany(_KEEP_KEY, keys).rowcount) if keys else 0
        if new == len(keys):
            rows += export.rows
            bodies.append(export.body)
        elif new:
            # Nearly every export is all new or all known. Of one that is neither, each span has to be asked for.
            connection.execute("ROLLBACK TO export")
            known = {at for at, key in enumerate(keys) if connection.execute(_KEEP_KEY, key).rowcount != 1}
            rows += [row for at, row in enumerate(export.rows) if at not in known]
            request = ExportTraceServiceRequest.FromString(export.body)
            bodies.append(without(request, known).SerializeToString())
        connection.execute("RELEASE export")
        kept.append(new)
    if not rows:
        return SpanBatch(0, received_ns, rows, kept)
    # Messages written one after another are one message with the fields of all.
    body = zlib.compress(b"".join(bodies), _LEVEL)
    first_ns = min(row.start_ns for row in rows)
    last_ns = max(row.end_ns for row in rows)
    number = connection.execute(_KEEP_BATCH, (received_ns, first_ns, last_ns, len(rows), body)).lastrowid
    return SpanBatch(number or 0, received_ns, rows, kept)


def batches_after(connection: sqlite3.Connection, number: int) -> Iterator[SpanBatch]:
    """The batches that came after one, in the order in which they came."""
    for found, received_ns, body in connection.execute(
        "SELECT id, received_ns, body FROM parcels WHERE id > ? ORDER BY id", (number,)
    ):
        yield SpanBatch(found, received_ns, rows_of(zlib.decompress(body)), [])


def spans_of_order(connection: sqlite3.Connection, account: str, order_id: str, limit: int) -> list[SpanRecord]:
    """The spans of every trace that tells of an order, oldest first."""
    times = connection.execute(
        "SELECT first_ns, last_ns FROM traced WHERE order_id = ?2 AND account IN (?1, '') AND order_id != ''",
        (account, order_id),
    ).fetchall()
    order = connection.execute(
        "SELECT trace_id, MIN(intended_ns, changed_ns), MAX(settled_ns, changed_ns) FROM orders "
        "WHERE account = ? AND order_id = ?",
        (account, order_id),
    ).fetchone()
    traces = {order[0]} - {""} if order else set[str]()
    times += [order[1:]] if order else []
    if not times:
        return []
    between = (min(first for first, _ in times) - _NEAR_NS, max(last for _, last in times) + _NEAR_NS)
    for record in _mentioning(connection, between, [order_id.encode()]):
        if record.order_id == order_id and record.account in (account, ""):
            traces.add(record.trace_id)
    spans = [
        record
        for record in _mentioning(connection, between, [bytes.fromhex(trace_id) for trace_id in traces])
        if record.trace_id in traces and record.account in (account, "")
    ]
    return sorted(spans, key=lambda record: (record.start_ns, -record.end_ns))[:limit]


def _mentioning(
    connection: sqlite3.Connection, between: tuple[int, int], words: Iterable[bytes]
) -> Iterator[SpanRecord]:
    """The spans of a time's batches in which a word stands. To look for bytes is far cheaper than to read spans."""
    wanted = tuple(words)
    for (packed,) in connection.execute("SELECT body FROM parcels WHERE last_ns >= ? AND first_ns <= ?", between):
        body = zlib.decompress(packed)
        if any(word in body for word in wanted):
            yield from records_of(body)

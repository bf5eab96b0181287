"""The store: one SQLite file in WAL mode, one thread that writes, one that reads.

Whoever awaits a write knows that it is committed when the call returns. A commit survives the end of the process; the
last ones may be lost with the machine's power (``synchronous=NORMAL``), and then the order feed, whose position is
kept in the same transaction as its orders, brings them again.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, TypeVar

from derivfleet.common.errors import ConfigurationError
from derivfleet.metrics import queries
from derivfleet.metrics.orders import OrderRecord
from derivfleet.metrics.otlp import SpanRecord
from derivfleet.metrics.schema import ForeignDatabaseError, NewerStoreError, prepare
from derivfleet.metrics.status import StatusSample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Self

    from derivfleet.metrics.aggregate import PeriodRows
    from derivfleet.metrics.status import RefusedCount

__all__ = ["FeedMark", "Store", "StoreError"]

T = TypeVar("T")

_CHUNK_ROWS = 5_000
"""Old rows go in pieces of this size, so that a clean-up never holds up what comes in."""


class StoreError(Exception):
    """The file could not be read or written just now (a full disk, a lock): worth another try."""


@dataclass(frozen=True, slots=True)
class FeedMark:
    """How far the order feed has been kept: its position, up to when all was seen, events that had to be refused.

    The position is ``base`` more than in the gateway's ``journal``.
    """

    position: int = 0
    seen_to_ns: int = 0
    refused: int = 0
    base: int = 0
    journal: str = ""

    def joined(self, other: FeedMark) -> FeedMark:
        """The further of the two in each respect; the store joins in the same way."""
        return FeedMark(
            max(self.position, other.position),
            max(self.seen_to_ns, other.seen_to_ns),
            max(self.refused, other.refused),
            *max((self.base, self.journal), (other.base, other.journal), key=lambda pair: (pair[0], bool(pair[1]))),
        )


def _names(model: type[SpanRecord | OrderRecord | StatusSample]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(model))


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - names of our own fields, no input


_KEEP_SPAN = f"{_insert('spans', _names(SpanRecord))} ON CONFLICT (trace_id, span_id) DO NOTHING"
_KEEP_ORDER = (
    f"{_insert('orders', (*_names(OrderRecord), 'settled_position'))} ON CONFLICT (account, order_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _names(OrderRecord) if name not in ("account", "order_id"))
    + ", settled_position = COALESCE(settled_position, excluded.settled_position)"
    " WHERE excluded.position > orders.position"
    # What has settled stays so, also while the feed is read once more from its beginning.
    " AND (orders.settled_position IS NULL OR excluded.settled_position IS NOT NULL)"
)
_KEEP_SAMPLE = f"{_insert('status_samples', _names(StatusSample))} ON CONFLICT (account, time_ns) DO NOTHING"
_KEEP_MARK = (
    "INSERT INTO feeds (source, position, seen_to_ns, refused, base, journal) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (source) DO UPDATE SET "
    "position = MAX(position, excluded.position), seen_to_ns = MAX(seen_to_ns, excluded.seen_to_ns), "
    "refused = MAX(refused, excluded.refused), base = MAX(base, excluded.base), "
    "journal = CASE WHEN excluded.base >= base AND excluded.journal != '' THEN excluded.journal ELSE journal END"
)
_span_row = attrgetter(*_names(SpanRecord))


class Store:
    """What the service has seen. Open with :meth:`open`; every method raises StoreError if the file fails it."""

    def __init__(self, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self._writer = writer
        self._reader = reader
        self._write_thread = ThreadPoolExecutor(1, "store-write")
        self._read_thread = ThreadPoolExecutor(1, "store-read")

    @classmethod
    async def open(cls, path: Path, key: str) -> Self:
        """Open or make the file. Raises ConfigurationError naming ``key`` if it cannot be used."""
        return await asyncio.to_thread(cls._open, path, key)

    @classmethod
    def _open(cls, path: Path, key: str) -> Self:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Each connection is used by its one thread, which is not the one that opens it.
            writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
            try:
                writer.execute("PRAGMA journal_mode = WAL")
                writer.execute("PRAGMA synchronous = NORMAL")
                prepare(writer)
                reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
            except BaseException:
                writer.close()
                raise
            reader.execute("PRAGMA query_only = ON")
        except NewerStoreError as error:
            raise ConfigurationError(key, f"{path} was written by a newer derivfleet ({error})") from None
        except ForeignDatabaseError:
            raise ConfigurationError(key, f"{path} is a database of another program") from None
        except (sqlite3.Error, OSError) as error:
            raise ConfigurationError(key, f"cannot use {path} as a store: {error}") from None
        return cls(writer, reader)

    async def close(self) -> None:
        """Finish what was asked for, then close the file."""
        await asyncio.to_thread(self._write_thread.shutdown)
        await asyncio.to_thread(self._read_thread.shutdown)
        self._reader.close()
        self._writer.close()

    async def keep_spans(self, spans: Sequence[SpanRecord]) -> int:
        """Keep spans and return how many are new; one that was there already (an exporter sent it again) stays."""
        rows = [_span_row(span) for span in spans]

        def write(connection: sqlite3.Connection) -> int:
            return max(0, connection.executemany(_KEEP_SPAN, rows).rowcount)

        return await self._write(write)

    async def keep_orders(self, orders: Sequence[OrderRecord], mark: FeedMark, source: str = "gateway") -> None:
        """Keep the latest state of each order, and how far the feed has come, in one transaction."""
        rows = [_order_row(order) for order in orders]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(_KEEP_ORDER, rows)
            connection.execute(_KEEP_MARK, (source, *astuple(mark)))

        await self._write(write)

    async def keep_status(self, samples: Sequence[StatusSample]) -> None:
        """Keep what the gateway said of its accounts."""
        rows = [_sample_row(sample) for sample in samples]
        await self._write(lambda connection: connection.executemany(_KEEP_SAMPLE, rows) and None)

    async def forget(self, spans_before_ns: int, orders_before_ns: int) -> int:
        """Delete spans and status samples, and settled orders, that are older. Returns how many rows went."""
        gone = 0
        for delete, before_ns in (
            (queries.FORGET_SPANS, spans_before_ns),
            (queries.FORGET_SAMPLES, spans_before_ns),
            (queries.FORGET_ORDERS, orders_before_ns),
        ):
            while True:

                def write(connection: sqlite3.Connection, delete: str = delete, before_ns: int = before_ns) -> int:
                    return connection.execute(delete, (before_ns, _CHUNK_ROWS)).rowcount

                count = await self._write(write)
                gone += count
                if count < _CHUNK_ROWS:
                    break
        return gone

    async def mark(self, source: str = "gateway") -> FeedMark:
        """How far the feed has been kept."""
        return await self._read(lambda connection: FeedMark(*queries.mark(connection, source)))

    async def period(self, account: str, start_ns: int, end_ns: int, sum_up: Callable[[PeriodRows], T]) -> T:
        """Sum up the rows of an account in [start, end); ``sum_up`` runs in the reading thread."""
        return await self._read(lambda connection: queries.period(connection, account, start_ns, end_ns, sum_up))

    async def status(self, account: str, at_ns: int) -> StatusSample | None:
        """The last status sample up to a time, or else the first after it."""
        return await self._read(lambda connection: queries.status(connection, account, at_ns))

    async def refused_counts(self, account: str, start_ns: int, end_ns: int) -> list[RefusedCount]:
        """The running counts of refused calls in (start, end], oldest first, after the last one before."""
        return await self._read(lambda connection: queries.refused_counts(connection, account, start_ns, end_ns))

    async def orders(self, account: str, bot: str = "", state: str = "", limit: int = 100) -> list[OrderRecord]:
        """The orders that changed last, newest first; an empty ``bot`` or ``state`` matches all."""
        return await self._read(lambda connection: queries.orders(connection, account, bot, state, limit))

    async def open_orders(self, account: str) -> dict[str, int]:
        """How many orders of each bot are not final."""
        return await self._read(lambda connection: queries.open_orders(connection, account))

    async def settlements(
        self, account: str, after_position: int, since_ns: int, limit: int
    ) -> list[queries.SettledRow]:
        """The first orders that settled after a position of the feed and not before a time, in the feed's order."""
        return await self._read(
            lambda connection: queries.settlements(connection, account, after_position, since_ns, limit)
        )

    async def settled_orders(self, account: str, limit: int) -> list[str]:
        """The ids of the orders that settled last, newest first."""
        return await self._read(lambda connection: queries.settled_orders(connection, account, limit))

    async def spans_of_order(self, account: str, order_id: str, limit: int) -> list[SpanRecord]:
        """The spans of every trace that tells of an order, oldest first."""
        return await self._read(lambda connection: queries.spans_of_order(connection, account, order_id, limit))

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def transaction() -> T:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._writer)
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")
            return result

        return await self._run(self._write_thread, transaction)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._run(self._read_thread, lambda: work(self._reader))

    @staticmethod
    async def _run(thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, work)
        except sqlite3.Error as error:
            raise StoreError(f"the store failed: {error}") from error


def _order_row(order: OrderRecord) -> tuple[object, ...]:
    money = {name: None if (value := getattr(order, name)) is None else str(value) for name in queries.MONEY}
    row = {**asdict(order), **money}
    return (*row.values(), order.position if order.settled_ns else None)


def _sample_row(sample: StatusSample) -> tuple[object, ...]:
    row = asdict(sample)
    return (*(json.dumps(value) if isinstance(value, tuple | list) else value for value in row.values()),)

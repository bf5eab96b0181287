"""The store: one SQLite file in WAL mode, one thread that writes, one that reads.

Whoever awaits a write knows that it is on the disk when the call returns: exports that wait for it share one commit.
Spans are summed up in memory beside their batches and brought into the rollups now and then. After a crash the batches
that are not in them yet are summed up again.
"""

from __future__ import annotations

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import structlog

from derivfleet.common.errors import ConfigurationError
from derivfleet.metrics.store import (
    order_rollups,
    order_table,
    report_table,
    span_batches,
    span_rollups,
    status_table,
    traced_orders,
)
from derivfleet.metrics.store.feed_mark import FeedMark, feed_mark, keep_feed_mark
from derivfleet.metrics.store.schema import ForeignDatabaseError, NewerStoreError, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from derivfleet.metrics.records.gateway_status import RunningCount, StatusSample
    from derivfleet.metrics.records.order import OrderRecord
    from derivfleet.metrics.records.otlp import Received
    from derivfleet.metrics.records.span import SpanRecord
    from derivfleet.metrics.sums.profit_and_loss import OrderSums
    from derivfleet.metrics.sums.span_aggregates import SpanAggregate
    from derivfleet.v1 import reports_pb2

__all__ = ["Store", "StoreError"]

T = TypeVar("T")

_log = structlog.get_logger()
_MOST_PENDING_SPANS = 200_000
_MOST_PENDING_AGGREGATES = 5_000
"""What bounds the memory of sums that are not on disk yet, and the time that a start after a crash takes."""
_CHUNK_ROWS = 5_000
"""Old rows go in pieces of this size, so that a clean-up never holds up what comes in."""


class StoreError(Exception):
    """The file could not be read or written just now (a full disk, a lock): worth another try."""


_ALL_ORDERS = order_table.OrderSearch()


class Store:
    """What the service has seen. Open with :meth:`open`; every method raises StoreError if the file fails it."""

    def __init__(self, writer: sqlite3.Connection, reader: sqlite3.Connection, account: str) -> None:
        self._writer = writer
        self._reader = reader
        self._account = account
        self._pending = span_rollups.PendingRollups()
        self._write_thread = ThreadPoolExecutor(1, "store-write")
        self._read_thread = ThreadPoolExecutor(1, "store-read")

    @classmethod
    async def open(cls, path: Path, key: str, account: str = "") -> Self:
        """Open or make the file; ``account`` is that of spans that name none.

        Raises ConfigurationError naming ``key`` if the file cannot be used.
        """
        store = await asyncio.to_thread(cls._open, path, key, account)
        await store.catch_up()
        return store

    async def catch_up(self) -> None:
        """Sum up the batches that a crash left out of the rollups, a piece at a time."""
        await self._run(self._write_thread, self._catch_up)

    def _catch_up(self) -> None:
        for batch in span_batches.batches_after(self._reader, span_rollups.last_rolled_batch(self._reader)):
            self._pending.add(batch)
            if self._pending.aggregates.spans >= _MOST_PENDING_SPANS:
                self._roll_up()
        self._roll_up()

    @classmethod
    def _open(cls, path: Path, key: str, account: str) -> Self:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Each connection is used by its one thread, which is not the one that opens it.
            writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
            try:
                writer.execute("PRAGMA journal_mode = WAL")
                writer.execute("PRAGMA synchronous = FULL")
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
        return cls(writer, reader, account)

    async def close(self) -> None:
        """Finish what was asked for, then close the file."""
        try:
            await self.roll_up()
        except StoreError as error:
            _log.warning("the last spans are summed up at the next start", problem=str(error))
        await asyncio.to_thread(self._write_thread.shutdown)
        await asyncio.to_thread(self._read_thread.shutdown)
        self._reader.close()
        self._writer.close()

    async def keep_spans(self, exports: Sequence[Received], received_ns: int) -> list[int]:
        """Keep what exports brought, in one commit; returns how many spans of each are new. The others were there."""

        def write() -> list[int]:
            batch = self._transaction(lambda connection: span_batches.keep_batch(connection, exports, received_ns))
            self._pending.add(batch)
            if (
                self._pending.aggregates.spans >= _MOST_PENDING_SPANS
                or len(self._pending.aggregates) >= _MOST_PENDING_AGGREGATES
            ):
                self._roll_up()
            return batch.kept

        return await self._run(self._write_thread, write)

    async def roll_up(self) -> None:
        """Bring the rollups up to date with the spans."""
        if self._pending.last_batch:
            await self._run(self._write_thread, self._roll_up)

    def _roll_up(self) -> None:
        if self._pending.last_batch:
            self._transaction(lambda connection: span_rollups.write_pending(connection, self._pending, self._account))
            self._pending = span_rollups.PendingRollups()

    async def keep_orders(self, orders: Sequence[OrderRecord], mark: FeedMark, source: str = "gateway") -> None:
        """Keep the latest state of each order, and how far the feed has come, in one transaction."""

        def write(connection: sqlite3.Connection) -> None:
            before = order_table.order_times(connection, orders)
            order_table.keep_orders(connection, orders)
            order_rollups.invalidate_changed(connection, orders, before)
            keep_feed_mark(connection, source, mark)

        await self.write(write)

    async def keep_status(self, samples: Sequence[StatusSample]) -> None:
        """Keep what the gateway said of its accounts."""
        await self.write(lambda connection: status_table.keep_samples(connection, samples))

    async def forget(self, spans_before_ns: int, orders_before_ns: int) -> int:
        """Delete spans and status samples, and settled orders, that are older. Returns how many rows went.

        What was summed up stays.
        """
        await self.roll_up()
        gone = 0
        for delete, before_ns in (
            (span_batches.FORGET_BATCHES, spans_before_ns),
            (span_batches.FORGET_KEYS, spans_before_ns),
            (span_rollups.FORGET_MINUTES, spans_before_ns),
            (span_rollups.FORGET_ANSWERED, spans_before_ns),
            (traced_orders.FORGET_TRACED, orders_before_ns),
            (status_table.FORGET_SAMPLES, spans_before_ns),
            (order_table.FORGET_ORDERS, orders_before_ns),
        ):
            while True:

                def write(connection: sqlite3.Connection, delete: str = delete, before_ns: int = before_ns) -> int:
                    return connection.execute(delete, (before_ns, _CHUNK_ROWS)).rowcount

                count = await self.write(write)
                gone += count
                if count < _CHUNK_ROWS:
                    break
        return gone

    async def last_report(self, account: str, kind: str, start_s: int) -> reports_pb2.Report | None:
        """The newest revision of a final report; None while it is not final."""
        return await self.read(lambda connection: report_table.last_report(connection, account, kind, start_s))

    async def last_final(self, account: str, kind: str) -> int | None:
        """When the newest period of a kind begins that is final; None if none is."""
        return await self.read(lambda connection: report_table.last_final(connection, account, kind))

    async def first_seen_s(self, account: str) -> int | None:
        """When the first order was bought or the first span ended, to five minutes; None if nothing was seen."""
        return await self.read(lambda connection: report_table.first_seen_s(connection, account))

    async def keep_report(self, report: reports_pb2.Report) -> None:
        """Keep one revision of a final report. It never changes afterwards."""
        await self.write(lambda connection: report_table.keep_report(connection, report))

    async def amended_windows(self, account: str, limit: int) -> list[int]:
        """When the windows begin whose final reports may have changed, oldest first."""
        return await self.read(lambda connection: report_table.amended_windows(connection, account, limit))

    async def clear_amended(self, account: str, start_s: int) -> None:
        """The final reports that hold this window say what is known again."""
        await self.write(lambda connection: report_table.clear_amended(connection, account, start_s))

    async def mark(self, source: str = "gateway") -> FeedMark:
        """How far the feed has been kept."""
        return await self.read(lambda connection: feed_mark(connection, source))

    async def sums(
        self, account: str, start_s: int, end_s: int, now_ns: int, strategies: Mapping[str, str]
    ) -> tuple[dict[str, SpanAggregate], OrderSums]:
        """What spans (by bot) and orders add up to over [start, end), whole minutes, as of this moment."""
        await self.roll_up()
        sums = await self.write(
            lambda connection: order_rollups.order_sums(connection, account, start_s, end_s, now_ns, strategies)
        )
        aggregates = await self.read(lambda connection: span_rollups.aggregates_of(connection, account, start_s, end_s))
        return aggregates, sums

    async def status(self, account: str, at_ns: int) -> StatusSample | None:
        """The last status sample up to a time, or else the first after it."""
        return await self.read(lambda connection: status_table.status(connection, account, at_ns))

    async def refused_counts(self, account: str, start_ns: int, end_ns: int) -> list[RunningCount]:
        """The running counts of refused calls in (start, end], oldest first, after the last one before."""
        return await self.read(lambda connection: status_table.refused_counts(connection, account, start_ns, end_ns))

    async def saved_counts(self, account: str, start_ns: int, end_ns: int) -> dict[str, list[RunningCount]]:
        """The running counts of saved calls by kind, as :meth:`refused_counts` gives those of refused ones."""
        return await self.read(lambda connection: status_table.saved_counts(connection, account, start_ns, end_ns))

    async def orders(
        self, account: str, search: order_table.OrderSearch = _ALL_ORDERS, limit: int = 100
    ) -> list[OrderRecord]:
        """The orders that changed last, newest first."""
        return await self.read(lambda connection: order_table.orders(connection, account, search, limit))

    async def open_orders(self, account: str) -> dict[str, int]:
        """How many orders of each bot are not final."""
        return await self.read(lambda connection: order_table.open_orders(connection, account))

    async def unknown_orders(self, account: str, end_ns: int = 2**63 - 1) -> dict[str, order_table.UnknownOrders]:
        """The orders of each bot, begun before an end, of which nobody knows what became of them."""
        return await self.read(lambda connection: order_table.unknown_orders(connection, account, end_ns))

    async def settlements(
        self, account: str, after_position: int, since_ns: int, limit: int
    ) -> list[order_table.SettlementRow]:
        """The first orders that settled after a position of the feed and not before a time, in the feed's order."""
        return await self.read(
            lambda connection: order_table.settlements(connection, account, after_position, since_ns, limit)
        )

    async def settled_orders(self, account: str, limit: int) -> list[str]:
        """The ids of the orders that settled last, newest first."""
        return await self.read(lambda connection: order_table.settled_orders(connection, account, limit))

    async def spans_of_order(self, account: str, order_id: str, limit: int) -> list[SpanRecord]:
        """The spans of every trace that tells of an order, oldest first."""
        await self.roll_up()
        return await self.read(lambda connection: span_batches.spans_of_order(connection, account, order_id, limit))

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run statements in one transaction of the writing thread."""
        return await self._run(self._write_thread, lambda: self._transaction(work))

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a question in the reading thread."""
        return await self._run(self._read_thread, lambda: work(self._reader))

    def _transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._writer)
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        return result

    @staticmethod
    async def _run(thread: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, work)
        except sqlite3.Error as error:
            raise StoreError(f"the store failed: {error}") from error

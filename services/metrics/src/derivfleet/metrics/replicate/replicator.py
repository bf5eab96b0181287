"""Copies the store to Supabase for ever: batch by batch, in order, from a cursor that is kept in the store itself.

A batch is put there first and the cursor moved after it. So whatever happens in between, rows are put twice rather than
never. As the same row has the same key, twice is once. What waits stays in the store, so an outage costs no memory.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.backoff import backoff_s
from derivfleet.common.clock import NS_PER_S
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.redaction import hide
from derivfleet.metrics.replicate.outbox import FLEETS, TABLES
from derivfleet.metrics.replicate.remote import RemoteError
from derivfleet.metrics.store.store import StoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from contextlib import AsyncExitStack

    from derivfleet.common.clock import Clock
    from derivfleet.common.fleet import Fleet
    from derivfleet.metrics.replicate.outbox import Entry, Json, Table
    from derivfleet.metrics.replicate.remote import Remote
    from derivfleet.metrics.settings import MetricsSettings
    from derivfleet.metrics.store.store import Store

__all__ = ["Progress", "Replicator", "replicator_of"]

_log = structlog.get_logger()
_SHORTEST_WALL_S = 0.1
_FIRST_WAIT_S = 1.0
_LONGEST_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one table has been copied; ``behind_s``: how old the oldest entry is that waits, 0 if none does."""

    table: str
    rows: int
    refused: int
    behind_rows: int
    behind_s: float


@dataclass(frozen=True, slots=True)
class _ReplicaMark:
    """As the store keeps it: entries up to ``cursor`` are there, ``rows`` were put, ``refused`` never will be."""

    cursor: int = 0
    rows: int = 0
    refused: int = 0


class Replicator:
    """Copies one fleet's store. ``fleet`` is the row of the table ``fleets`` that all others belong to."""

    def __init__(self, store: Store, remote: Remote, clock: Clock, fleet: Json, every_s: int, batch_rows: int) -> None:
        self._store = store
        self._remote = remote
        self._clock = clock
        self._fleet = fleet
        self._every_s = every_s
        self._batch_rows = batch_rows
        self._introduced = False
        self._failures = 0
        self._problem = ""

    @property
    def problem(self) -> str:
        """Why copying does not go on, as a code; empty if it does."""
        return self._problem

    async def run(self) -> None:
        """Copy until cancelled."""
        while True:
            try:
                await self.copy()
            except RemoteError as error:
                wait_s = self._failed(error.code, str(error))
            except StoreError as error:
                wait_s = self._failed("STORE", str(error))
            else:
                if self._problem:
                    _log.info("replication goes on", after=self._problem)
                self._failures, self._problem = 0, ""
                wait_s = self._every_s
            await self._clock.sleep(max(wait_s, self._clock.fleet_s(_SHORTEST_WALL_S)))

    async def finish(self, patience_wall_s: float) -> None:
        """Copy what the end of the service left over, if copying went on until now; the rest waits in the store."""
        if self._problem:
            return
        try:
            async with asyncio.timeout(patience_wall_s):
                await self.copy()
        except (RemoteError, StoreError, TimeoutError) as error:
            _log.warning("not all was copied at the end, the next start goes on", problem=str(error))

    async def copy(self) -> None:
        """Copy all there is. Raises RemoteError or StoreError; what was copied until then stays copied."""
        if not self._introduced:
            await self._remote.put(FLEETS, [self._fleet])
            self._introduced = True
        for table in TABLES:
            mark = await self._store.read(lambda connection, table=table: _replica_mark(connection, table.target.name))
            while entries := await self._next(table, mark.cursor):
                mark = await self._put(table, entries, mark)
                self._failures = 0

    async def progress(self) -> list[Progress]:
        """How far each table is. Raises StoreError."""
        now_ns = self._clock.now_ns()

        def ask(connection: sqlite3.Connection) -> list[Progress]:
            found: list[Progress] = []
            for table in TABLES:
                mark = _replica_mark(connection, table.target.name)
                waiting = table.waiting(connection, mark.cursor)
                age_s = max(0, now_ns - waiting.oldest_ns) / NS_PER_S if waiting.entries else 0.0
                found.append(Progress(table.target.name, mark.rows, mark.refused, waiting.entries, age_s))
            return found

        return await self._store.read(ask)

    async def _next(self, table: Table, after: int) -> list[Entry]:
        """The next entries, as many as fit into one batch, at least one."""
        name, limit = self._fleet["fleet"], self._batch_rows
        entries = await self._store.read(lambda connection: table.read(connection, name, after, limit))
        rows = 0
        for count, entry in enumerate(entries):
            rows += len(entry.rows)
            if rows > limit and count:
                return entries[:count]
        return entries

    async def _put(self, table: Table, entries: Sequence[Entry], mark: _ReplicaMark) -> _ReplicaMark:
        """Put a batch there and move the cursor. A row that can never go in is left out, and counted."""
        rows = [row for entry in entries for row in entry.rows]
        refused = 0
        try:
            await self._remote.put(table.target, rows)
        except RemoteError as error:
            if error.code != "ROW":
                raise
            if len(entries) > 1:
                half = len(entries) // 2
                mark = await self._put(table, entries[:half], mark)
                return await self._put(table, entries[half:], mark)
            refused = len(rows)
            _log.error(
                "rows refused by Supabase", table=table.target.name, cursor=entries[0].cursor, problem=str(error)
            )
        put = len(rows) - refused
        moved = _ReplicaMark(entries[-1].cursor, mark.rows + put, mark.refused + refused)
        await self._store.write(lambda connection: _keep_replica_mark(connection, table.target.name, moved))
        return moved

    def _failed(self, code: str, problem: str) -> float:
        if code != self._problem:
            # Once a problem: an outage of hours is two lines.
            self._problem = code
            _log.warning("replication waits, trying again", reason=code, problem=problem)
        wait_s = backoff_s(self._failures, f"replication {self._fleet['fleet']}", _FIRST_WAIT_S, _LONGEST_WAIT_S)
        self._failures += 1
        return wait_s


def _replica_mark(connection: sqlite3.Connection, name: str) -> _ReplicaMark:
    row = connection.execute("SELECT cursor, rows, refused FROM replicas WHERE name = ?", (name,)).fetchone()
    return _ReplicaMark(*row) if row else _ReplicaMark()


def _keep_replica_mark(connection: sqlite3.Connection, name: str, mark: _ReplicaMark) -> None:
    connection.execute(
        "INSERT INTO replicas (name, cursor, rows, refused) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
        "cursor = excluded.cursor, rows = excluded.rows, refused = excluded.refused",
        (name, mark.cursor, mark.rows, mark.refused),
    )


async def replicator_of(
    settings: MetricsSettings, fleet: Fleet, store: Store, clock: Clock, ending: AsyncExitStack
) -> Replicator | None:
    """What copies the store to Supabase, if there is a project. Raises ConfigurationError if one half is missing."""
    url, key = settings.supabase_url, settings.supabase_service_key.get_secret_value()
    hide(key)
    if not url and not key:
        return None
    if not url or not key:
        missing = "SUPABASE_URL" if key else "SUPABASE_SERVICE_KEY"
        raise ConfigurationError(missing, "is missing: SUPABASE_URL and SUPABASE_SERVICE_KEY belong together")
    # Its packages take a second of processor time to import, which a fleet without Supabase need not spend.
    from derivfleet.metrics.replicate.supabase import Supabase  # noqa: PLC0415

    remote = Supabase(url, key)
    ending.push_async_callback(remote.close)
    introduction = {
        "fleet": f"{fleet.fleet} ({settings.copied_as})" if settings.copied_as else fleet.fleet,
        "account": fleet.accounts[0].key,
        "bots": [bot.name for bot in fleet.bots],
    }
    return Replicator(store, remote, clock, introduction, fleet.supabase.every_s, fleet.supabase.batch_rows)

"""The journal in one SQLite file (WAL).

Writes are synchronous on purpose: an order's next step must not begin before its last one is on disk. In WAL mode a
commit with ``synchronous=NORMAL`` survives the death of the process and takes tens of microseconds; with ``FULL`` it
survives a power cut as well, with everything before it, and costs an fsync.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from typing import TYPE_CHECKING

from derivfleet.common.errors import ConfigurationError
from derivfleet.gateway.journal.checkpoints import Checkpoints
from derivfleet.gateway.journal.store import ContractTakenError, JournalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from derivfleet.gateway.journal.store import Row, Step

__all__ = ["SqliteStore"]

MOST_PAGES = 10_000
"""Of 4 kB, in the write-ahead log before a commit tidies it up itself: see ``checkpoints``, which does that aside."""


class SqliteStore:
    """One file, and beside it a lock that ends with the process."""

    int_type = "INTEGER"
    key_type = "INTEGER PRIMARY KEY"
    is_connected = True

    def __init__(self, path: Path, key: str) -> None:
        """Open or create; raises ConfigurationError naming ``key`` if that cannot be done, or another has it open."""
        self.place = str(path)
        self._durable = False
        self._lock = _locked(path, key)
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(f"PRAGMA wal_autocheckpoint={MOST_PAGES}")
        except sqlite3.Error as error:
            os.close(self._lock)
            raise ConfigurationError(key, f"cannot open {path}: {error}") from None
        self._checkpoints = Checkpoints(path)

    def version(self) -> int:
        ((version,),) = self.read("PRAGMA user_version")
        return int(version)

    def set_version(self, version: int) -> Step:
        return f"PRAGMA user_version={version:d}", ()

    def read(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        try:
            return self._db.execute(sql, tuple(parameters)).fetchall()
        except sqlite3.DatabaseError as error:
            raise JournalError(f"the order journal cannot be read: {error}") from None

    def commit(self, steps: Iterable[Step], *, durable: bool) -> None:
        try:
            if durable is not self._durable:
                self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                for sql, parameters in steps:
                    self._db.execute(sql, tuple(parameters))
        except sqlite3.IntegrityError as error:
            if "contract_id" in str(error):
                raise ContractTakenError(str(error)) from None
            raise
        except sqlite3.DatabaseError as error:
            raise JournalError(f"the order journal cannot be written: {error}") from None

    def reconnect(self) -> None:
        """A file is always there, or its directory is gone for good."""

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

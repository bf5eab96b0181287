"""Moves what SQLite has gathered in its write-ahead log into the database, in a thread aside.

SQLite does that itself within a commit, every thousand pages, and waits for the disk: several milliseconds, or many on
a busy one, in which no call of any bot goes on. Nothing hangs on when it is done: what was committed is in the log.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Checkpoints"]

_log = structlog.get_logger()
EVERY_WALL_S = 1.0


class Checkpoints:
    """Checkpoints of one journal, from now until :meth:`stop`."""

    def __init__(self, path: Path, every_s: float = EVERY_WALL_S) -> None:
        """``path`` is a journal that is open; ``every_s`` is wall time."""
        self._path = path
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin no more, and wait for the one under way."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        problem = ""
        with closing(sqlite3.connect(self._path)) as database:
            while not self._stop.wait(self._every_s):
                before, problem = problem, ""
                try:
                    database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                except sqlite3.OperationalError as error:  # as on a full disk: the next may find room
                    problem = str(error)
                if problem and problem != before:
                    _log.warning("the order journal could not be tidied", problem=problem)

"""``python mortal.py before|after METHOD N``: the metrics service, killed right before or right after the Nth commit of
a method of its store.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import TYPE_CHECKING, TypeVar

from derivfleet.common.service import run_service
from derivfleet.metrics.service import serve
from derivfleet.metrics.settings import MetricsSettings
from derivfleet.metrics.store.store import Store

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

T = TypeVar("T")


def die_at(moment: str, method: str, number: int) -> None:
    """Let every commit be as it is, but one, which is the process's last moment."""
    commits = itertools.count(1)
    commit = Store._transaction  # pyright: ignore[reportPrivateUsage] - the one place of all commits

    def transaction(self: Store, work: Callable[[sqlite3.Connection], T]) -> T:
        is_last = f"Store.{method}." in work.__qualname__ and next(commits) == number

        def worked(connection: sqlite3.Connection) -> T:
            result = work(connection)
            if is_last and moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        result = commit(self, worked)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    Store._transaction = transaction  # pyright: ignore[reportPrivateUsage]


if __name__ == "__main__":
    die_at(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    sys.exit(run_service("metrics", MetricsSettings, serve))

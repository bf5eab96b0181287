"""The journal's log is moved into its database aside."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING

from derivfleet.gateway.core.orders.order import Order, OrderTerms, State
from derivfleet.gateway.journal.checkpoints import Checkpoints
from derivfleet.gateway.journal.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

ORDERS = 500
PATIENCE_S = 60


def write(journal: Journal, first: int, orders: int) -> None:
    terms = OrderTerms("DIGITOVER", "1HZ100V", Decimal("0.35"), 1, "t", "4")
    for number in range(first, first + orders):
        journal.write(Order("demo", f"o{number}", "one", terms, State.INTENDED, number), number)


def test_the_log_is_begun_anew_once_all_of_it_is_in_the_database(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    log = tmp_path / "journal.sqlite-wal"
    journal = Journal(path, "journal")
    write(journal, 0, ORDERS)
    size, pages = log.stat().st_size, path.stat().st_size
    checkpoints = Checkpoints(path, every_s=0.01)
    end = time.monotonic() + PATIENCE_S
    while path.stat().st_size == pages and time.monotonic() < end:
        time.sleep(0.01)
    checkpoints.stop()
    assert path.stat().st_size > pages
    write(journal, ORDERS, 10)
    assert log.stat().st_size == size  # written over from its beginning
    assert len(list(journal.all_orders("demo"))) == ORDERS + 10
    journal.close()

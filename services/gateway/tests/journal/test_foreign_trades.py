"""Trades that are not the fleet's, over restarts and while the journal cannot be written."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from derivfleet.gateway.core.orders.order import Order, OrderTerms, State
from derivfleet.gateway.core.reconcile.foreign_trades import ForeignTrade
from derivfleet.gateway.journal.foreign_trades import KEPT_S
from derivfleet.gateway.journal.journal import Journal
from derivfleet.gateway.journal.store import JournalError
from derivfleet.gateway.reconciling.evidence import Evidence

if TYPE_CHECKING:
    from collections.abc import Iterable

T0 = 1_795_161_600
KNOWN = ForeignTrade(8, "R_10", Decimal("0.350"), T0)
BARE = ForeignTrade(18, "", None, T0 + 1)
TERMS = OrderTerms("CALL", "R_10", Decimal("0.35"), 5, "t")
ORDER = Order("demo", "a", "bot", TERMS, State.UNKNOWN, T0 * 10**9, sent_time_ns=T0 * 10**9)


def test_what_was_written_down_is_known_after_a_restart(place: str) -> None:
    journal = Journal(place, "JOURNAL")
    for account, trade in (("demo", BARE), ("demo", KNOWN), ("demo", KNOWN), ("other", KNOWN._replace(contract_id=28))):
        journal.write_foreign(account, trade)
    journal.close()
    journal = Journal(place, "JOURNAL")
    assert journal.foreign("demo") == [KNOWN, BARE]
    journal.write_foreign("demo", KNOWN._replace(contract_id=38, epoch_s=T0 + KEPT_S + 1))
    assert [trade.contract_id for trade in journal.foreign("demo")] == [18, 38]
    assert len(journal.foreign("other")) == 1
    journal.close()


class Paper:
    """Where foreign trades are written down, if there is room."""

    def __init__(self) -> None:
        self.is_full = False
        self.written: list[ForeignTrade] = []

    def write_down(self, trade: ForeignTrade) -> None:
        if self.is_full:
            raise JournalError
        self.written.append(trade)


def of_18(contract_ids: Iterable[int]) -> set[int]:
    return {18} & set(contract_ids)


def test_it_counts_for_those_who_start_anew() -> None:
    paper = Paper()
    evidence = Evidence("demo", of_18, paper.write_down)
    assert not evidence.is_foreign_like(ORDER)
    later = [KNOWN._replace(contract_id=contract_id) for contract_id in (4008, 28, 1038)]
    evidence.recall([KNOWN, BARE, *later])  # the second has found its order since
    assert evidence.is_foreign_like(ORDER)
    assert (evidence.newest_foreign(9), evidence.foreign_count, paper.written) == ([KNOWN, *later], 4, [])


def test_what_could_not_be_written_down_is_once_that_works() -> None:
    paper = Paper()
    evidence = Evidence("demo", lambda _: (), paper.write_down)
    paper.is_full = True
    evidence.is_foreign(KNOWN)
    evidence.is_foreign(BARE)
    assert (list(evidence.unwritten), evidence.newest_foreign(9)) == ([KNOWN, BARE], [KNOWN, BARE])
    paper.is_full = False
    evidence.look([], [], T0 * 10**9, 2, 1)
    assert (paper.written, list(evidence.unwritten)) == ([KNOWN, BARE], [])

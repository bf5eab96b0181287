from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from derivfleet.common.errors import ConfigurationError
from derivfleet.gateway.core.orders import Confirmed, Order, OrderTerms, Sent, Settled, State, advance
from derivfleet.gateway.journal.feed import Feed
from derivfleet.gateway.journal.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

TERMS = OrderTerms("DIGITOVER", "1HZ100V", Decimal("0.35"), 1, "t", "4")


def order(name: str, state: State = State.INTENDED, contract_id: int = 0) -> Order:
    return Order("demo", name, "bot", TERMS, state, 5, contract_id=contract_id)


def test_an_order_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "journal.sqlite"
    journal = Journal(path, "JOURNAL")
    written = advance(order("o1"), Sent(), 6)
    written = advance(written, Confirmed(301234567888, 601234567868, Decimal("0.35"), Decimal("0.68"), 7), 8)
    written = advance(written, Settled(Decimal("0.68"), 9), 10)
    journal.write(written, 11)
    journal.close()
    again = Journal(path, "JOURNAL")
    assert again.order("demo", "o1") == written
    assert again.order("demo", "o2") is None
    assert again.order("other", "o1") is None
    assert again.last_position() == 1


def test_what_is_open_is_found_again_and_what_has_ended_is_not(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "JOURNAL")
    for index, state in enumerate(State):
        journal.write(order(f"o{index}", state), index)
    assert {found.state for found in journal.open_orders("demo")} == {
        State.INTENDED,
        State.SENT,
        State.UNKNOWN,
        State.CONFIRMED,
    }
    assert [found.state for found in journal.all_orders("demo")] == list(State)


def test_one_contract_belongs_to_one_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "JOURNAL")
    journal.write(order("a", State.CONFIRMED, 8), 1)
    journal.write(order("b"), 1)
    journal.write(order("c"), 1)
    with pytest.raises(sqlite3.IntegrityError):
        journal.write(order("b", State.CONFIRMED, 8), 2)
    assert journal.last_position() == 3
    assert journal.claimed("demo", [8, 18, 0]) == {8}


def test_pages_go_from_new_to_old(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "JOURNAL")
    for index in range(5):
        journal.write(order(f"o{index}", State.SENT if index % 2 else State.DENIED), index)
    first, more = journal.page("demo", "", "", 0, 2)
    second, last = journal.page("", "bot", "", more, 3)
    assert [found.order_id for found in first + second] == ["o4", "o3", "o2", "o1", "o0"]
    assert last == 0
    assert [found.order_id for found in journal.page("demo", "", "sent", 0, 10)[0]] == ["o3", "o1"]
    assert journal.page("demo", "nobody", "", 0, 10) == ([], 0)


def test_a_journal_of_another_version_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "j") as database:
        database.execute("PRAGMA user_version=99")
    with pytest.raises(ConfigurationError, match="has schema 99"):
        Journal(tmp_path / "j", "JOURNAL")
    with pytest.raises(ConfigurationError, match="JOURNAL: cannot open"):
        Journal(tmp_path, "JOURNAL")


async def test_a_reader_resumes_where_it_was_and_then_hears_the_news(tmp_path: Path) -> None:
    feed = Feed(Journal(tmp_path / "j", "JOURNAL"))
    for index in range(3):
        feed.write(order(f"o{index}"), index)
    reader = feed.follow("demo", 1)
    seen = [await anext(reader) for _ in range(3)]
    assert [event and (event.position, event.order.order_id) for event in seen] == [(2, "o1"), (3, "o2"), None]
    waiting = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    assert not waiting.done()
    feed.write(replace(order("o3"), account="other"), 8)
    feed.write(order("o4"), 9)
    event = await waiting
    assert event is not None
    assert (event.position, event.time_ns, event.order.order_id) == (5, 9, "o4")
    feed.close()
    assert [event async for event in reader] == [None]


def test_a_second_gateway_on_the_same_journal_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "JOURNAL")
    with pytest.raises(ConfigurationError, match=r"JOURNAL: .* is in use by another gateway"):
        Journal(tmp_path / "j", "JOURNAL")
    journal.close()
    Journal(tmp_path / "j", "JOURNAL").close()

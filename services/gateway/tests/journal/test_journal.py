"""What a journal is, whatever database it is in."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from derivfleet.common.errors import ConfigurationError
from derivfleet.gateway.core.orders.operations import Sent
from derivfleet.gateway.core.orders.order import Order, OrderTerms, State
from derivfleet.gateway.core.orders.tally import Past
from derivfleet.gateway.core.orders.transitions import Confirmed, Settled, advance
from derivfleet.gateway.core.quota import Block
from derivfleet.gateway.journal.feed import Feed
from derivfleet.gateway.journal.journal import LOST_AT_MOST, Journal
from derivfleet.gateway.journal.records import ORDER
from derivfleet.gateway.journal.schema import VERSION
from derivfleet.gateway.journal.sqlite import SqliteStore
from derivfleet.gateway.journal.store import ContractTakenError
from derivfleet.gateway.journal.stores import open_store
from derivfleet.gateway.journal.write_ahead import BLOCKS_KEPT_NS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Place = Callable[[], str]

TERMS = OrderTerms("DIGITOVER", "1HZ100V", Decimal("0.35"), 1, "t", "4")


def order(name: str, state: State = State.INTENDED, contract_id: int = 0, bot: str = "bot") -> Order:
    return Order("demo", name, bot, TERMS, state, 5, contract_id=contract_id)


def settled(name: str) -> Order:
    written = advance(order(name), Sent(), 6)
    written = advance(written, Confirmed(301234567888, 601234567868, Decimal("0.35"), Decimal("0.68"), 7), 8)
    return advance(written, Settled(Decimal("0.68"), 9), 10)


def forget(journal: Journal) -> None:
    """Leave only the database to answer."""
    journal._recent._claims.clear()  # pyright: ignore[reportPrivateUsage] - both answer alike, so from outside one cannot tell
    journal._recent.clear()  # pyright: ignore[reportPrivateUsage] - as above


def test_an_order_comes_back_as_it_was_written(place: str) -> None:
    journal = Journal(place, "JOURNAL")
    written = settled("o1")
    journal.write(written, 11)
    journal.close()
    again = Journal(place, "JOURNAL")
    forget(again)
    assert again.order("demo", "o1") == written
    assert again.order("demo", "o2") is None
    assert again.order("other", "o1") is None
    assert again.last_position == 1
    assert again.journal_id == journal.journal_id
    again.close()


def test_what_is_open_is_found_again_and_what_has_ended_is_not(place: str) -> None:
    journal = Journal(place, "JOURNAL")
    for index, state in enumerate(State):
        journal.write(order(f"o{index}", state), index)
    assert {found.state for found in journal.open_orders("demo")} == {
        State.INTENDED,
        State.SENT,
        State.UNKNOWN,
        State.CONFIRMED,
    }
    assert [found.state for found in journal.all_orders("demo")] == list(State)
    journal.close()


def test_one_contract_belongs_to_one_order(place: str) -> None:
    journal = Journal(place, "JOURNAL")
    journal.write(order("a", State.CONFIRMED, 8), 1)
    journal.write(order("b", State.SENT), 1)
    for memory in ("with it in memory", "without"):
        with pytest.raises(ContractTakenError):
            journal.write(order("b", State.CONFIRMED, 8), 2)
        found = journal.order("demo", "b")
        assert (journal.last_position, journal.unwritten, found and found.state) == (2, 0, State.SENT), memory
        forget(journal)
    with pytest.raises(ContractTakenError):
        journal.write(order("b", State.CONFIRMED, 8), 2)
    assert journal.claimed("demo", [8, 18, 0]) == {8}
    journal.write(order("a", State.SETTLED, 8), 3)  # its own order's it still is
    assert journal.last_position == 3
    journal.close()


def test_what_is_written_together_survives_a_crash_as_a_whole_or_not_at_all(place: str) -> None:
    journal = Journal(place, "JOURNAL")
    told: list[str] = []
    journal.listen(lambda event: told.append(event.order.order_id))
    with suppress(RuntimeError), journal.together():
        journal.write(order("a", State.CONFIRMED, 8), 1)
        assert journal.claimed("demo", [8]) == {8}  # it is decided, if not yet written
        raise RuntimeError
    assert (told, journal.last_position, journal.unwritten) == ([], 0, 1)
    with journal.together():
        journal.write(order("b", State.CONFIRMED, 18), 2)
        assert journal.unwritten == 2
    assert (told, journal.last_position, journal.unwritten) == (["a", "b"], 2, 0)
    journal.write(order("c", State.CONFIRMED, 28), 3)
    assert journal.last_position == 3
    journal.close()


def test_pages_go_from_new_to_old(place: str) -> None:
    journal = Journal(place, "JOURNAL")
    for index in range(5):
        journal.write(order(f"o{index}", State.SENT if index % 2 else State.DENIED), index)
    assert not journal.tidy(3, 0)  # the oldest two that were denied are in the archive
    first, more = journal.page("demo", "", "", 0, 2)
    second, last = journal.page("", "bot", "", more, 3)
    assert [found.order_id for found in first + second] == ["o4", "o3", "o2", "o1", "o0"]
    assert last == 0
    assert [found.order_id for found in journal.page("demo", "", "sent", 0, 10)[0]] == ["o3", "o1"]
    assert journal.page("demo", "nobody", "", 0, 10) == ([], 0)
    journal.close()


def test_a_newer_journal_is_refused(place: str) -> None:
    store = open_store(place, "JOURNAL")
    store.version()
    store.commit([store.set_version(99)], durable=True)
    store.close()
    with pytest.raises(ConfigurationError, match=f"has schema 99, this gateway knows {VERSION}"):
        Journal(place, "JOURNAL")
    with pytest.raises(ConfigurationError, match="has schema 99"):  # and not that it is in use
        Journal(place, "JOURNAL")


def test_a_second_gateway_on_the_same_journal_is_refused(place: str) -> None:
    journal = Journal(place, "JOURNAL")
    with pytest.raises(ConfigurationError, match=r"JOURNAL: .* is in use by another gateway"):
        Journal(place, "JOURNAL")
    journal.close()
    Journal(place, "JOURNAL").close()


async def test_a_reader_resumes_where_it_was_and_then_hears_the_news(place: str) -> None:
    journal = Journal(place, "JOURNAL")
    feed = Feed(journal)
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
    journal.close()


def test_an_archived_order_is_still_found_by_its_id_and_its_contract(place: str) -> None:
    journal = Journal(place, "JOURNAL")
    old, lost = settled("old"), order("lost", State.NOT_FOUND)
    journal.write(old, 10)
    journal.write(lost, 10)
    journal.write(order("open", State.CONFIRMED, 7), 10)
    assert not journal.tidy(11, 0)
    journal.close()
    store = open_store(place, "JOURNAL")
    journal = Journal(place, "JOURNAL", store=store)
    forget(journal)
    left = store.read("SELECT order_id FROM orders ORDER BY order_id")
    assert left == [("lost",), ("open",)]  # a late record may still correct the lost one
    assert journal.order("demo", "old") == old
    assert journal.claimed("demo", [old.contract_id, 7, 99]) == {old.contract_id, 7}
    assert [found.order_id for found in journal.all_orders("demo")] == ["old", "lost", "open"]
    assert sorted(journal.tallies("demo"), key=lambda past: past.kind) == [
        Past("bot", "confirmed bought", 1, 0, Decimal(0)),
        Past("bot", "not_found", 1, 0, Decimal(0)),
        Past("bot", "settled bought", 1, 1, Decimal("0.33")),
    ]
    journal.close()


def test_old_transitions_leave_the_feed_and_positions_go_on(place: str) -> None:
    journal = Journal(place, "JOURNAL")
    for index in range(4):
        journal.write(order(f"o{index}", State.DENIED), index)
    assert not journal.tidy(0, 2)
    assert (journal.trimmed_to, [event.position for event in journal.events("", 0, 9)]) == (2, [3, 4])
    assert not journal.tidy(99, 99)
    journal.close()
    journal = Journal(place, "JOURNAL")
    assert (journal.trimmed_to, journal.last_position, journal.events("", 0, 9)) == (4, 4, [])
    journal.write(order("o4"), 9)
    assert [event.position for event in journal.events("", 0, 9)] == [5]
    journal.close()


def test_much_is_tidied_up_in_small_steps(place: str) -> None:
    store = open_store(place, "JOURNAL")
    journal = Journal(place, "JOURNAL", store=store)
    for index in range(450):
        journal.write(order(f"o{index}", State.DENIED, bot=f"bot-{index % 3}"), index)
    steps = 1
    while journal.tidy(1000, 1000):
        steps += 1
    assert steps == 3
    assert sum(past.orders for past in journal.tallies("demo")) == 450
    assert store.read("SELECT count(*) FROM orders") == [(0,)]
    journal.close()


def test_positions_that_a_power_cut_may_have_undone_are_not_given_again(place: str) -> None:
    store = open_store(place, "JOURNAL")
    Journal(place, "JOURNAL", store=store).write(order("o1"), 1)
    store.close()  # the process is killed
    journal = Journal(place, "JOURNAL")
    assert journal.last_position == 1 + LOST_AT_MOST
    journal.write(order("o2"), 2)
    assert [event.position for event in journal.events("", 0, 9)] == [1, 2 + LOST_AT_MOST]
    journal.close()


def test_two_journals_can_be_told_apart(new_place: Place) -> None:
    first, second = Journal(new_place(), "JOURNAL"), Journal(new_place(), "JOURNAL")
    assert first.journal_id != second.journal_id
    first.close()
    second.close()


def test_purchases_of_the_last_minutes_are_recalled_by_their_bots(place: str) -> None:
    journal = Journal(place, "JOURNAL")
    for index, bot in enumerate("abca"):
        journal.write(order(f"o{index}", bot=bot), 10 * index)
        journal.write(order(f"o{index}", State.SENT, bot=bot), 10 * index + 1)
    assert journal.sent_since("demo", 11) == ["c", "a"]
    assert journal.sent_since("demo", -1) == ["a", "b", "c", "a"]
    assert journal.sent_since("other", -1) == []
    journal.close()


def test_calls_made_ahead_are_kept_for_two_hours(place: str) -> None:
    journal = Journal(place, "JOURNAL")
    journal.write_blocks("demo", [Block("trade", 5, 10)])
    journal.write_blocks("demo", [Block("lists", 6 + BLOCKS_KEPT_NS, 3), Block("trade", 7 + BLOCKS_KEPT_NS, 2)])
    assert journal.blocks("demo", 0) == [Block("lists", 6 + BLOCKS_KEPT_NS, 3), Block("trade", 7 + BLOCKS_KEPT_NS, 2)]
    assert journal.blocks("demo", 6 + BLOCKS_KEPT_NS) == [Block("trade", 7 + BLOCKS_KEPT_NS, 2)]
    assert journal.blocks("other", 0) == []
    journal.close()


OLD_SCHEMA = """
CREATE TABLE orders (account TEXT NOT NULL, order_id TEXT NOT NULL, bot TEXT NOT NULL, state TEXT NOT NULL,
  contract_id INTEGER NOT NULL, first_position INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (account, order_id)
) WITHOUT ROWID;
CREATE INDEX orders_by_age ON orders (account, first_position);
CREATE INDEX orders_open ON orders (account, state) WHERE state IN ('intended', 'sent', 'unknown', 'confirmed');
CREATE UNIQUE INDEX orders_by_contract ON orders (account, contract_id) WHERE contract_id != 0;
CREATE TABLE events (position INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, time_ns INTEGER NOT NULL,
  body TEXT NOT NULL);
CREATE TABLE blocks (account TEXT NOT NULL, bucket TEXT NOT NULL, opened_ns INTEGER NOT NULL, calls INTEGER NOT NULL);
CREATE INDEX blocks_by_age ON blocks (account, opened_ns);
PRAGMA user_version=2;
"""


def test_whose_orders_they_are_is_written_down_once(place: str) -> None:
    journal = Journal(place, "JOURNAL")
    assert journal.login_id("demo") == ""
    journal.write_login_id("demo", "DOT1")
    journal.write_login_id("demo", "DOT2")
    journal.close()
    journal = Journal(place, "JOURNAL")
    assert (journal.login_id("demo"), journal.login_id("other")) == ("DOT1", "")
    journal.close()


def test_an_older_journal_is_brought_over(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with sqlite3.connect(path) as old:
        old.executescript(OLD_SCHEMA)
        for position, one in enumerate((settled("won"), order("open", State.CONFIRMED, 7)), 1):
            body = ORDER.dump_json(one).decode()
            old.execute("INSERT INTO events VALUES (?, 'demo', 10, ?)", (position, body))
            row = ("demo", one.order_id, "bot", one.state, one.contract_id, position, body)
            old.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    old.close()
    store = SqliteStore(path, "JOURNAL")
    journal = Journal(path, "JOURNAL", store=store)
    assert journal.order("demo", "won") == settled("won")
    assert {past.kind: past.profit for past in journal.tallies("demo")}["settled bought"] == Decimal("0.33")
    assert not journal.tidy(11, 0)
    assert store.read("SELECT order_id FROM orders") == [("open",)]
    assert [event.order.order_id for event in journal.events("", 0, 9)] == ["won", "open"]
    journal.close()


def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="JOURNAL: cannot open"):
        Journal(tmp_path, "JOURNAL")

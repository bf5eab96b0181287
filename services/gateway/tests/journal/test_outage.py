"""The database is full, gone, or somebody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg
import pytest
from structlog.testing import capture_logs

from bench.disks import small_disk
from bench.postgres import Postgres
from derivfleet.common.errors import ConfigurationError
from derivfleet.gateway.core.orders.operations import Sent
from derivfleet.gateway.core.orders.order import Order, OrderTerms, State
from derivfleet.gateway.core.orders.transitions import Confirmed, Settled, advance
from derivfleet.gateway.journal.feed import Feed
from derivfleet.gateway.journal.journal import Journal
from derivfleet.gateway.journal.postgres import PostgresStore
from derivfleet.gateway.journal.records import ORDER
from derivfleet.gateway.journal.store import FencedError, InUseError, JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

INTENDED = Order("demo", "o1", "bot", OrderTerms("DIGITOVER", "R_10", Decimal("0.35"), 1, "t", "4"), State.INTENDED, 5)
SENT = advance(INTENDED, Sent(), 6)
CONFIRMED = advance(SENT, Confirmed(8, 18, Decimal("0.35"), Decimal("0.68"), 7), 8)
SETTLED = advance(CONFIRMED, Settled(Decimal("0.68"), 9), 10)
CANARY = "canary-9f27c1"


def states(journal: Journal) -> list[State]:
    return [event.order.state for event in journal.events("", 0, 99)]


def check_full(journal: Journal, make_room: Callable[[], None]) -> None:
    """Fill a journal, see what it does then, and that nothing is missing once there is room."""
    feed = Feed(journal)
    before = feed.last_position

    def fill() -> None:
        for number in range(10_000):
            feed.write(replace(INTENDED, order_id=f"fill{number}"), 1)

    with capture_logs() as logs:
        with pytest.raises(JournalError, match="order journal cannot be written"):
            fill()
        written = feed.last_position
        assert written > before
        for order in (CONFIRMED, SETTLED):  # of an order that was sent before
            feed.write(order, 10)
        with pytest.raises(JournalError):
            feed.write(replace(INTENDED, order_id="another"), 1)
        with pytest.raises(JournalError):
            journal.retry()
        assert journal.order("demo", "o1") == SETTLED
        assert (journal.unwritten, feed.last_position) == (2, written)
        assert journal.order("demo", "fill0") == replace(INTENDED, order_id="fill0")
        make_room()
        journal.retry()
        feed.write(replace(INTENDED, order_id="another"), 1)
    assert (journal.unwritten, journal.trouble, feed.last_position) == (0, "", written + 3)
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("error", "no orders are opened"),
        ("info", "the order journal is written again"),
    ]
    assert "\n" not in logs[0]["problem"]
    assert states(journal)[-3:] == [State.CONFIRMED, State.SETTLED, State.INTENDED]


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(300_000))
        journal = Journal(disk / "j", "JOURNAL")
        journal.write(INTENDED, 5)
        journal.write(SENT, 6)
        check_full(journal, ballast.unlink)
        journal.close()


FILE_LIMIT = """
import resource, sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from test_outage import INTENDED, SENT, check_full
from derivfleet.gateway.journal.journal import Journal
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
journal = Journal(Path(sys.argv[1]), "JOURNAL")
journal.write(INTENDED, 5)
journal.write(SENT, 6)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, most))
check_full(journal, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
journal.close()
"""


def test_a_file_that_may_not_grow_loses_nothing(tmp_path: Path) -> None:
    """Where no disk can be filled, the system's limit of a file's size does as well."""
    here = os.path.dirname(__file__)  # noqa: PTH120 - for sys.path
    done = subprocess.run(  # noqa: S603 - ourselves
        [sys.executable, "-c", FILE_LIMIT, str(tmp_path / "j"), here, ".", "tests"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def lonely() -> Generator[Postgres, None, None]:
    """A server that may be killed."""
    with Postgres() as server:
        yield server


def test_a_server_that_dies_and_returns_loses_nothing(lonely: Postgres) -> None:
    journal = Journal(lonely.url, "JOURNAL")
    feed = Feed(journal)
    feed.write(INTENDED, 5)
    feed.write(SENT, 6)
    lonely.stop(signal.SIGKILL)
    with capture_logs() as logs:
        assert journal.claimed("demo", [8]) == set()  # as a receipt asks before it is written
        feed.write(CONFIRMED, 8)
        for _ in range(2):
            with pytest.raises(JournalError, match="order journal cannot be"):
                feed.write(replace(INTENDED, order_id="o2"), 9)
        with pytest.raises(JournalError, match="cannot be reached"):
            journal.reconnect()
        with pytest.raises(JournalError, match="cannot be reached"):
            journal.order("demo", "o3")
        feed.write(SETTLED, 10)
        assert (journal.order("demo", "o1"), journal.claimed("demo", [8, 9])) == (SETTLED, {8})
        assert (journal.unwritten, feed.last_position) == (2, 2)
        lonely.start()
        journal.reconnect()
        journal.retry()
        feed.write(replace(INTENDED, order_id="o2"), 11)
    assert (journal.trouble, states(journal)) == (
        "",
        [State.INTENDED, State.SENT, State.CONFIRMED, State.SETTLED, State.INTENDED],
    )
    assert [line["log_level"] for line in logs] == ["error", "info"]
    assert all("\n" not in str(line) for line in logs)
    journal.close()


def cut(url: str) -> None:
    """End all other connections, as a server does with one that has been silent too long."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid != pg_backend_pid()"
        )


def test_a_gateway_that_lost_the_journal_to_another_never_writes_to_it_again(database: Callable[[], str]) -> None:
    url = database()
    old = Journal(url, "JOURNAL")
    old.write(INTENDED, 5)
    old.write(SENT, 6)
    cut(url)
    new = Journal(url, "JOURNAL")
    new.write(replace(SENT, state=State.UNKNOWN), 7)
    old.write(CONFIRMED, 8)  # it happened, but it cannot be told any more
    with pytest.raises(JournalError):
        old.write(replace(INTENDED, order_id="o2"), 8)
    with pytest.raises(JournalError, match="taken over by another gateway"):
        old.reconnect()
    new.close()
    old.reconnect()  # the lock is free, but the journal is not what it was
    with pytest.raises(FencedError):
        old.retry()
    for _ in range(2):
        with pytest.raises(JournalError, match="another gateway has taken"):
            old.write(replace(INTENDED, order_id="o2"), 8)
        with pytest.raises(FencedError):
            old.reconnect()
    third = Journal(url, "JOURNAL")  # it does not keep the lock either
    assert states(third) == [State.INTENDED, State.SENT, State.UNKNOWN]
    third.close()
    old.close()


def write_behind(url: str, position: int, order: Order, time_ns: int) -> None:
    """A commit that went through although its connection was lost."""
    body = ORDER.dump_json(order, exclude_defaults=True).decode()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO events VALUES (%s, 'demo', %s, %s)", (position, time_ns, body))
        connection.execute(
            "INSERT INTO orders VALUES (%s, 'demo', %s, 'bot', %s, '', %s, '', 0, %s) ON CONFLICT (account, order_id)"
            " DO UPDATE SET state = excluded.state, contract_id = excluded.contract_id, body = excluded.body",
            (position, order.order_id, order.state.value, order.contract_id, body),
        )


def test_a_commit_that_went_through_after_all_is_not_repeated(database: Callable[[], str]) -> None:
    url = database()
    journal = Journal(url, "JOURNAL")
    told: list[tuple[int, State]] = []
    journal.listen(lambda event: told.append((event.position, event.order.state)))
    journal.write(INTENDED, 5)
    journal.write(SENT, 6)
    cut(url)
    journal.write(CONFIRMED, 8)
    journal.write(SETTLED, 10)
    write_behind(url, 3, CONFIRMED, 8)
    journal.reconnect()
    journal.retry()
    assert told == [(1, State.INTENDED), (2, State.SENT), (3, State.CONFIRMED), (4, State.SETTLED)]
    assert [(event.position, event.order.state) for event in journal.events("", 0, 9)] == told
    journal.close()


def test_an_intent_that_was_written_after_all_is_denied(database: Callable[[], str]) -> None:
    """Its caller heard that it was not taken; without an end it would stay intended for ever."""
    url = database()
    journal = Journal(url, "JOURNAL")
    journal.write(replace(INTENDED, order_id="o0"), 4)
    cut(url)
    with pytest.raises(JournalError):
        journal.write(INTENDED, 5)
    write_behind(url, 2, INTENDED, 5)
    journal.reconnect()
    journal.retry()
    found = journal.order("demo", "o1")
    assert found is not None
    assert (found.state, found.error_code) == (State.DENIED, "JOURNAL_NOT_WRITTEN")
    assert states(journal) == [State.INTENDED, State.INTENDED, State.DENIED]
    journal.close()


def test_a_silent_gateway_is_ended_by_the_server(database: Callable[[], str]) -> None:
    store = PostgresStore(database(), "JOURNAL")
    settings = {"idle_session_timeout": "15s", "statement_timeout": "2s", "lock_timeout": "2s"}
    assert {name: store.read(f"SHOW {name}")[0][0] for name in settings} == settings
    store.close()


def test_a_server_that_takes_too_long_holds_the_gateway_up_once(database: Callable[[], str]) -> None:
    url = database()
    journal = Journal(url, "JOURNAL")
    feed = Feed(journal)
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE orders")  # until the block ends: the journal waits for it, and is cancelled
        with pytest.raises(JournalError, match="cannot be written"):
            feed.write(INTENDED, 5)
        assert not journal.is_connected
        with pytest.raises(JournalError):
            feed.write(INTENDED, 6)  # which it is told at once
    reconnected(journal)
    journal.retry()
    feed.write(INTENDED, 7)
    assert states(journal) == [State.INTENDED]
    journal.close()


def reconnected(journal: Journal) -> None:
    """The server notices a little later that the old connection has ended."""
    while not journal.is_connected:
        with suppress(JournalError):
            journal.reconnect()


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://fleet:{CANARY}@127.0.0.1:1/fleet",
        f"postgresql://fleet@127.0.0.1:1/fleet?password={CANARY}",
        f"postgresql://fleet@127.0.0.1:1/fleet?sslmode={CANARY}&x=y",
        f"postgresql://fleet:{CANARY}@[127.0.0.1/fleet",
        "postgresql://fleet@127.0.0.1:1/fleet",
    ],
)
def test_no_error_tells_a_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PostgresStore(url, "JOURNAL", CANARY)
    assert CANARY not in f"{caught.value}{caught.value.__cause__!r}"
    assert "\n" not in str(caught.value)


def test_a_password_comes_from_its_own_setting() -> None:
    with Postgres(durable=False, password=CANARY) as server:
        with pytest.raises(ConfigurationError, match="password"):
            PostgresStore(server.url, "JOURNAL", "another one")
        store = PostgresStore(server.url, "JOURNAL", CANARY)
        assert CANARY not in f"{store.place}{vars(store)['_url']}"
        with pytest.raises(InUseError) as caught:
            PostgresStore(server.url, "JOURNAL", CANARY)
        assert CANARY not in str(caught.value)
        store.close()

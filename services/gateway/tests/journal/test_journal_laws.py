"""A journal through many lives, against a dictionary that is never closed, never tidied and never forgets."""

from __future__ import annotations

import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from derivfleet.gateway.core.orders.operations import Denied, Lost, Rejected, Sent
from derivfleet.gateway.core.orders.order import FINAL, Order, OrderTerms, State
from derivfleet.gateway.core.orders.tally import Tallies
from derivfleet.gateway.core.orders.transitions import Confirmed, Event, NotFound, Settled, advance
from derivfleet.gateway.journal.journal import Journal
from derivfleet.gateway.journal.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

TERMS = OrderTerms("DIGITOVER", "1HZ100V", Decimal("0.35"), 1, "t", "4")
BOTS = ("one", "two")
STORIES: tuple[tuple[Event, ...], ...] = (
    (Denied("NOT_SENT", ""),),
    (Sent(), Rejected("InsufficientBalance", "no")),
    (Sent(), Lost("Timeout", ""), NotFound()),
    (Sent(), Confirmed(0, 1, Decimal("0.35"), Decimal("0.68"), 1), Settled(Decimal("0.68"), 2)),
    (Sent(), Lost("Timeout", ""), Confirmed(0, 1, Decimal("0.35"), Decimal("0.70"), 1), Settled(Decimal(0), 2)),
)
ORDERS = 12
STEP = st.one_of(
    st.integers(0, ORDERS - 1),  # this order moves on
    st.tuples(st.just("tidy"), st.integers(0, 60), st.integers(0, 60)),
    st.sampled_from(["close", "die"]),
)


class Memory:
    """The oracle."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.told: list[tuple[int, Order]] = []

    def next_state(self, number: int, story: int, time_ns: int) -> Order | None:
        """The order after its next transition; None if it has had all."""
        name = f"o{number}"
        order = self.orders.get(name)
        if order is None:
            return Order("demo", name, BOTS[number % 2], TERMS, State.INTENDED, time_ns)
        events = STORIES[story]
        done = sum(one.order_id == name for _, one in self.told) - 1
        if done == len(events):
            return None
        event = events[done]
        if isinstance(event, Confirmed):
            event = Confirmed(900 + number, 1, event.buy_price, event.payout, 1)
        return advance(order, event, time_ns)

    def keep(self, time_ns: int, order: Order) -> None:
        self.orders[order.order_id] = order
        self.told.append((time_ns, order))


def check(journal: Journal, memory: Memory) -> None:
    orders = list(memory.orders.values())
    assert [journal.order("demo", f"o{number}") for number in range(ORDERS)] == [
        memory.orders.get(f"o{number}") for number in range(ORDERS)
    ]
    assert list(journal.all_orders("demo")) == orders
    assert journal.open_orders("demo") == [order for order in orders if order.state not in FINAL]
    ids = {order.contract_id for order in orders if order.contract_id}
    assert journal.claimed("demo", range(890, 920)) == ids
    paged, before = list[Order](), 0
    while True:
        page, before = journal.page("demo", "", "", before, 5)
        paged += page
        if not before:
            break
    assert paged == orders[::-1]
    for bot in BOTS:
        expected = [order for order in reversed(orders) if order.bot == bot and order.state is State.SETTLED]
        assert journal.page("", bot, "settled", 0, 99)[0] == expected
    tallies = Tallies()
    tallies.replay(journal.tallies("demo"))
    for bot in BOTS:
        tally, mine = tallies.of(bot), [order for order in orders if order.bot == bot]
        states = Counter(order.state for order in mine)
        assert (tally.buys, tally.settled, tally.unknown) == (len(mine), states[State.SETTLED], states[State.UNKNOWN])
        assert tally.open == sum(order.state not in FINAL for order in mine)
        assert tally.confirmed == sum(order.contract_id > 0 for order in mine)
        assert tally.profit == sum((order.profit or Decimal(0) for order in mine), Decimal(0))
        assert tally.wins == sum((order.profit or 0) > 0 for order in mine)
    events = journal.events("", 0, 1000)
    assert [(event.time_ns, event.order) for event in events] == memory.told[len(memory.told) - len(events) :]
    positions = [journal.trimmed_to, *(event.position for event in events), journal.last_position + 1]
    assert positions == sorted(set(positions))


def live(place: str, stories: list[int], steps: list[int | tuple[str, int, int] | str]) -> None:
    store = open_store(place, "JOURNAL")
    journal = Journal(place, "JOURNAL", store=store)
    memory, highest = Memory(), 0
    for time_ns, step in enumerate(steps, 1):
        if isinstance(step, int):
            order = memory.next_state(step, stories[step], time_ns)
            if order is not None:
                journal.write(order, time_ns)
                memory.keep(time_ns, order)
                assert journal.last_position > highest
                highest = journal.last_position
        elif isinstance(step, tuple):
            journal.tidy(step[1], step[2])
        else:
            if step == "close":
                journal.close()
            else:
                store.close()
            identity = journal.journal_id
            store = open_store(place, "JOURNAL")
            journal = Journal(place, "JOURNAL", store=store)
            assert journal.journal_id == identity
    check(journal, memory)
    journal.close()


LIVES = (st.lists(st.integers(0, len(STORIES) - 1), min_size=ORDERS, max_size=ORDERS), st.lists(STEP, max_size=60))


@settings(deadline=None, max_examples=40)
@given(*LIVES)
def test_nothing_is_forgotten_in_a_file(stories: list[int], steps: list[int | tuple[str, int, int] | str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        live(str(Path(folder) / "j"), stories, steps)


@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stories=LIVES[0], steps=LIVES[1])
def test_nothing_is_forgotten_on_a_server(
    database: Callable[[], str], stories: list[int], steps: list[int | tuple[str, int, int] | str]
) -> None:
    live(database(), stories, steps)

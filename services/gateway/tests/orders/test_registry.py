"""The order registry: one writer, who journals first and then tells."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from derivfleet.common.clock import ManualClock
from derivfleet.gateway.core.orders.exit import Ending
from derivfleet.gateway.core.orders.operations import Denied, Lost, Sent
from derivfleet.gateway.core.orders.order import Order, OrderTerms, State
from derivfleet.gateway.core.orders.transitions import Confirmed, Disproved, NotFound, Settled, TransitionError
from derivfleet.gateway.journal.journal import Journal
from derivfleet.gateway.orders.registry import OrderRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from derivfleet.gateway.core.orders.transitions import Event

TERMS = OrderTerms("CALL", "R_100", Decimal(1), 5, "t")
RECEIPT = Confirmed(7, 8, Decimal(1), Decimal("1.95"), 1_795_161_600)
SOLD = Settled(Decimal("1.95"), 1_795_161_612)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    found = Journal(str(tmp_path / "journal.sqlite"), "JOURNAL")
    yield found
    found.close()


@pytest.fixture
def registry(journal: Journal) -> OrderRegistry:
    return OrderRegistry("demo", journal, ManualClock())


def intended(order_id: str = "o1") -> Order:
    return Order("demo", order_id, "one", TERMS, State.INTENDED, 1)


def states(journal: Journal) -> list[State]:
    return [event.order.state for event in journal.events("demo", 0, 99)]


def test_an_order_is_where_its_state_says(registry: OrderRegistry) -> None:
    order = intended()
    registry.add(order)
    order = registry.move(order, Sent())
    assert (registry.in_flight(), registry.unknown) == ([order], {})
    order = registry.move(order, Lost("Timeout", "m"))
    assert (registry.in_flight(), registry.unknown, registry.open) == ([], {"o1": order}, {"o1": order})
    order = registry.move(order, NotFound())
    assert (registry.unknown, registry.open, registry.watched) == ({}, {}, {"o1": order})
    order = registry.confirm(order, RECEIPT)
    assert (registry.watched, registry.open, registry.of_contract(7)) == ({}, {"o1": order}, order)
    assert registry.settle(7, SOLD)
    assert (registry.open, registry.of_contract(7)) == ({}, None)
    found = registry.find("o1")
    assert found is not None
    assert (found.state, found.ending) == (State.SETTLED, Ending.EXPIRED)


def test_each_transition_is_written_before_anybody_is_told(registry: OrderRegistry, journal: Journal) -> None:
    told: list[tuple[State | None, State, int]] = []

    def listen(before: Order | None, order: Order) -> None:
        told.append((None if before is None else before.state, order.state, len(states(journal))))

    registry.listeners.append(listen)
    order = intended()
    registry.add(order)
    registry.move(registry.move(order, Sent()), Denied("NOT_SENT", "m"))
    assert told == [
        (None, State.INTENDED, 1),
        (State.INTENDED, State.SENT, 2),
        (State.SENT, State.DENIED, 3),
    ]


def test_what_a_listener_says_follows_is_done_once_all_have_heard(registry: OrderRegistry, journal: Journal) -> None:
    heard: list[State] = []

    def ends(_before: Order | None, order: Order) -> Event | None:
        return SOLD if order.state is State.CONFIRMED else None

    def hears(_before: Order | None, order: Order) -> None:
        heard.append(order.state)

    registry.listeners += [ends, hears]
    order = intended()
    registry.add(order)
    found = registry.confirm(registry.move(order, Sent()), RECEIPT)
    assert found.state is State.SETTLED
    assert heard == states(journal) == [State.INTENDED, State.SENT, State.CONFIRMED, State.SETTLED]


def test_what_is_no_news_is_neither_written_nor_told(registry: OrderRegistry, journal: Journal) -> None:
    order = intended()
    registry.add(order)
    order = registry.move(registry.move(order, Sent()), Lost("Timeout", "m"))
    order = registry.move(registry.move(order, NotFound("ann")), NotFound("ann"))
    written = len(states(journal))
    assert registry.move(replace(order), NotFound("ann")).state is State.NOT_FOUND
    assert len(states(journal)) == written


def test_an_event_that_does_not_fit_changes_nothing(registry: OrderRegistry, journal: Journal) -> None:
    order = intended()
    registry.add(order)
    with pytest.raises(TransitionError, match="o1: Settled does not follow intended"):
        registry.move(order, SOLD)
    assert (registry.open, states(journal)) == ({"o1": order}, [State.INTENDED])


def test_a_contract_belongs_to_one_order(registry: OrderRegistry) -> None:
    for order_id in ("o1", "o2"):
        registry.add(intended(order_id))
    first = registry.confirm(registry.move(registry.open["o1"], Sent()), RECEIPT)
    second = registry.confirm(registry.move(registry.open["o2"], Sent()), RECEIPT)
    assert (second.state, second.error_code, second.contract_id) == (State.UNKNOWN, "CONTRACT_TAKEN", 0)
    assert registry.of_contract(7) == first


def test_a_receipt_for_nothing_gives_its_contract_back(registry: OrderRegistry) -> None:
    registry.add(intended())
    order = registry.confirm(registry.move(registry.open["o1"], Sent()), RECEIPT)
    registry.move(order, Disproved())
    assert registry.of_contract(7) is None
    assert not registry.settle(7, SOLD)
    assert registry.open["o1"].state is State.UNKNOWN


def test_a_restart_finds_what_was_open(registry: OrderRegistry, journal: Journal) -> None:
    for order_id in ("o1", "o2", "o3"):
        registry.add(intended(order_id))
    registry.confirm(registry.move(registry.open["o1"], Sent()), RECEIPT)
    registry.move(registry.move(registry.open["o2"], Sent()), Lost("Timeout", "m"))
    registry.move(registry.open["o3"], Denied("NOT_SENT", "m"))
    again = OrderRegistry("demo", journal, ManualClock())
    assert {order.order_id for order in again.load()} == {"o1", "o2"}
    assert (again.open, again.unknown) == (registry.open, registry.unknown)
    assert again.of_contract(7) == registry.of_contract(7)

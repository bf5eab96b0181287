from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.gateway.core.orders import Order, OrderTerms, State
from derivfleet.gateway.core.reconcile import LostOrder, Purchase, assign, is_proven_absent

if TYPE_CHECKING:
    from collections.abc import Sequence

S = 10**9
T0 = 1_795_161_600
TERMS = OrderTerms("DIGITOVER", "1HZ100V", Decimal("0.35"), 1, "t", "4")


def lost(name: str, sent_s: float = T0, lost_s: float = T0 + 3, terms: OrderTerms = TERMS) -> LostOrder:
    order = Order("demo", name, "bot", terms, State.UNKNOWN, round(sent_s * S), sent_time_ns=round(sent_s * S))
    return LostOrder(order, round(lost_s * S))


def bought(contract_id: int, epoch_s: int = T0 + 1, **change: Any) -> Purchase:
    purchase = Purchase(
        contract_id, contract_id + 1, Decimal("0.35"), Decimal("0.68"), epoch_s, "DIGITOVER", "1HZ100V", "4", 1, None
    )
    return replace(purchase, **change)


def matched(found: Sequence[tuple[Order, object]]) -> dict[str, int]:
    return {order.order_id: getattr(receipt, "contract_id") for order, receipt in found}  # noqa: B009 - any receipt


def test_a_purchase_with_the_same_terms_in_time_is_the_lost_order() -> None:
    found = assign([lost("a")], [], [bought(8)], set(), 0)
    ((order, receipt),) = found
    assert (order.order_id, receipt.contract_id, receipt.buy_price) == ("a", 8, Decimal("0.35"))


@pytest.mark.parametrize(
    "change",
    [
        {"price": Decimal("0.36")},
        {"symbol": "R_100"},
        {"contract_type": "DIGITUNDER"},
        {"barrier": "5"},
        {"duration_ticks": 2},
        {"epoch_s": T0 - 3},
        {"epoch_s": T0 + 6},
    ],
)
def test_anything_else_is_not(change: dict[str, Any]) -> None:
    assert assign([lost("a")], [], [bought(8, **change)], set(), 0) == []


def test_a_timed_contract_is_recognised_by_its_length() -> None:
    terms = OrderTerms("CALL", "R_100", Decimal(1), 5, "m")
    row: dict[str, Any] = {
        "contract_type": "CALL",
        "symbol": "R_100",
        "price": Decimal(1),
        "barrier": "S0P",
        "duration_ticks": None,
    }
    right, wrong = bought(8, **row, expiry_s=T0 + 301), bought(18, **row, expiry_s=T0 + 302)
    assert matched(list(assign([lost("a", terms=terms)], [], [wrong, right], set(), 0))) == {"a": 8}


def test_a_claimed_purchase_is_left_alone() -> None:
    assert assign([lost("a")], [], [bought(8)], {8}, 0) == []


def test_a_purchase_that_may_belong_to_an_order_in_flight_waits_for_its_answer() -> None:
    flying = replace(lost("b").order, state=State.SENT)
    assert assign([lost("a")], [flying], [bought(8)], set(), (T0 + 5) * S) == []


def test_identical_orders_are_assigned_in_the_order_of_time() -> None:
    orders = [lost("second", T0 + 1), lost("first", T0)]
    assert matched(list(assign(orders, [], [bought(18, T0 + 2), bought(8, T0 + 1)], set(), 0))) == {
        "first": 8,
        "second": 18,
    }


@given(st.lists(st.integers(0, 5), max_size=8), st.lists(st.integers(0, 8), max_size=8))
def test_no_purchase_serves_two_orders(sent: list[int], epochs: list[int]) -> None:
    orders = [lost(f"o{index}", T0 + offset, T0 + offset + 1) for index, offset in enumerate(sent)]
    rows = [bought(10 * index + 8, T0 + epoch) for index, epoch in enumerate(epochs)]
    found = assign(orders, [], rows, set(), 0)
    contracts = [receipt.contract_id for _, receipt in found]
    assert len(set(contracts)) == len(contracts)
    assert len({order.order_id for order, _ in found}) == len(found)
    by_id = {row.contract_id: row for row in rows}
    for order, receipt in found:
        assert abs(by_id[receipt.contract_id].epoch_s - order.sent_time_ns // S) <= 3


def test_absence_is_believed_only_late_and_twice() -> None:
    entry = lost("a", lost_s=T0)
    assert not is_proven_absent(replace(entry, clean_reads=2), (T0 + 29) * S)
    assert not is_proven_absent(replace(entry, clean_reads=1), (T0 + 31) * S)
    assert is_proven_absent(replace(entry, clean_reads=2), (T0 + 31) * S)


def test_a_frame_may_be_on_its_way_longer_where_time_runs_faster() -> None:
    late = bought(8, T0 + 30)
    assert assign([lost("a")], [], [late], set(), 0) == []
    ((order, receipt),) = assign([lost("a")], [], [late], set(), 0, slack_s=60)
    assert (order.order_id, receipt.contract_id) == ("a", 8)
    entry = replace(lost("a"), clean_reads=2)
    assert is_proven_absent(entry, entry.lost_time_ns + 30 * S)
    assert not is_proven_absent(entry, entry.lost_time_ns + 30 * S, absent_after_s=120)

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from derivfleet.common.clock import NS_PER_S
from derivfleet.common.order_state import FINAL, OrderState
from derivfleet.common.redaction import hide
from derivfleet.metrics.records.order import MalformedOrderError, order_of
from derivfleet.v1 import orders_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    MakeEvent = Callable[..., orders_pb2.OrderEvent]

TIME_S = 1_795_161_700


def test_a_settled_order_keeps_its_money_exactly(make_event: MakeEvent) -> None:
    order = order_of(make_event(3, "over-4:1", "-0.35", time_s=TIME_S, trace_id="ab" * 16))
    assert (order.profit, order.buy_price, order.payout) == (Decimal("-0.35"), Decimal("0.35"), Decimal("0.68"))
    assert (order.position, order.state, order.trace_id) == (3, OrderState.SETTLED, "ab" * 16)
    assert order.settled_ns == TIME_S * NS_PER_S
    assert order.bought_ns == (TIME_S - 2) * NS_PER_S


def test_money_belongs_to_the_second_in_which_deriv_ended_the_contract(make_event: MakeEvent) -> None:
    late = make_event(3, "a", time_s=TIME_S)
    late.order.sell_epoch_s = TIME_S - 3_600
    assert order_of(late).settled_ns == (TIME_S - 3_600) * NS_PER_S
    late.order.sell_epoch_s = 0
    assert order_of(late).settled_ns == TIME_S * NS_PER_S


@pytest.mark.parametrize("state", [state for state in OrderState if state is not OrderState.SETTLED])
def test_an_order_that_has_not_settled_belongs_to_no_period(make_event: MakeEvent, state: OrderState) -> None:
    event = make_event(3, "a", state=orders_pb2.OrderState.Value(f"ORDER_STATE_{state.upper()}"))
    event.order.profit = ""
    order = order_of(event)
    assert (order.state, order.settled_ns, order.profit) == (state, 0, None)
    assert (order.bought_ns > 0) == (state is OrderState.CONFIRMED)


def test_only_an_order_that_is_unknown_or_was_not_found_is_in_doubt(make_event: MakeEvent) -> None:
    unknown = make_event(3, "a", state=orders_pb2.ORDER_STATE_UNKNOWN, doubt="foreign_trades")
    assert (order_of(unknown).state, order_of(unknown).doubt) == (OrderState.UNKNOWN, "foreign_trades")
    late = make_event(4, "a", state=orders_pb2.ORDER_STATE_NOT_FOUND, doubt="more_candidates")
    assert (order_of(late).state, order_of(late).doubt) == (OrderState.NOT_FOUND, "more_candidates")
    assert order_of(make_event(5, "a", doubt="foreign_trades")).doubt == ""


def test_a_purchase_that_was_reconciled_counts_when_it_was_made(make_event: MakeEvent) -> None:
    event = make_event(3, "a", time_s=TIME_S, reconciled=True)
    event.order.answered_time_ns = 0
    assert order_of(event).bought_ns == (TIME_S - 2) * NS_PER_S


def test_a_missing_profit_is_what_was_sold_less_what_was_bought(make_event: MakeEvent) -> None:
    event = make_event(3, "a", "0.33")
    event.order.profit = ""
    assert order_of(event).profit == Decimal("0.33")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"order_id": ""}, "position 3 lacks"),
        ({"account": ""}, "position 3 lacks"),
        ({"bot": ""}, "position 3 lacks"),
        ({"state": 0}, "order a: unknown state 0"),
        ({"state": 77}, "order a: unknown state 77"),
        ({"profit": "NaN"}, "order a: profit is not an amount"),
        ({"payout": "much"}, "order a: payout is not an amount"),
        ({"buy_price": "1e40"}, "order a: buy_price is not an amount"),
        ({"profit": "", "sell_price": ""}, "order a: settled without a profit"),
    ],
)
def test_an_event_that_cannot_be_kept_names_its_order(
    make_event: MakeEvent, changes: dict[str, Any], said: str
) -> None:
    event = make_event(3, "a")
    for name, value in changes.items():
        setattr(event.order, name, value)
    with pytest.raises(MalformedOrderError, match=said):
        order_of(event)


def test_a_secret_in_an_error_does_not_get_in(make_event: MakeEvent) -> None:
    hide("very-secret-token")
    order = order_of(make_event(3, "a", error_message="refused for very-secret-token"))
    assert order.error_message == "refused for ***"


def test_the_final_states_are_those_of_the_contract() -> None:
    assert {state.value for state in FINAL} == {"settled", "denied", "rejected", "not_found"}

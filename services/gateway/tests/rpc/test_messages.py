from __future__ import annotations

from decimal import Decimal

import pytest

from derivfleet.common.rpc.status import ProblemError
from derivfleet.deriv.ticks import Tick
from derivfleet.gateway.core.orders.order import Order, OrderTerms, State
from derivfleet.gateway.rpc import messages
from derivfleet.v1 import orders_pb2

GOOD = {
    "contract_type": "DIGITOVER",
    "symbol": "1HZ100V",
    "stake": "0.35",
    "duration": 1,
    "duration_unit": "t",
    "barrier": "4",
}


def terms(**change: object) -> orders_pb2.ContractTerms:
    return orders_pb2.ContractTerms(**{**GOOD, **change})  # pyright: ignore[reportArgumentType] - fields by name


def test_good_terms_are_taken() -> None:
    assert messages.terms_of(terms()) == OrderTerms("DIGITOVER", "1HZ100V", Decimal("0.35"), 1, "t", "4")


def test_a_symbol_that_only_deriv_knows_is_left_to_deriv() -> None:
    assert messages.terms_of(terms(symbol="NEW_5", duration=99)).symbol == "NEW_5"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"contract_type": "LOTTERY"}, "terms.contract_type"),
        ({"contract_type": ""}, "terms.contract_type"),
        ({"symbol": "no such"}, "terms.symbol"),
        ({"symbol": ""}, "terms.symbol"),
        ({"stake": "much"}, "terms.stake"),
        ({"stake": ""}, "terms.stake"),
        ({"stake": "NaN"}, "terms.stake"),
        ({"stake": "Infinity"}, "terms.stake"),
        ({"stake": "1e999999"}, "terms.stake"),
        ({"stake": "0.355"}, "terms.stake"),
        ({"stake": "-1"}, "terms.stake"),
        ({"stake": "0"}, "terms.stake"),
        ({"duration": 11}, "terms.duration"),
        ({"duration": -1}, "terms.duration"),
        ({"duration_unit": "y"}, "terms.duration_unit"),
        ({"barrier": ""}, "terms.barrier"),
        ({"barrier": "12"}, "terms.barrier"),
        ({"contract_type": "DIGITEVEN"}, "terms.barrier"),
        ({"symbol": "NEW_5", "duration": 0}, "terms.duration"),
        ({"symbol": "NEW_5", "duration": 100_000_000}, "terms.duration"),
        ({"symbol": "NEW_5", "barrier": "high"}, "terms.barrier"),
        ({"symbol": "NEW_5", "barrier": "1\n"}, "terms.barrier"),
        ({"symbol": "NEW_5", "barrier": "1" * 21}, "terms.barrier"),
        ({"symbol": "R_100\n"}, "terms.symbol"),
    ],
)
def test_wrong_terms_name_their_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(ProblemError) as caught:
        messages.terms_of(terms(**change))
    assert caught.value.problem.field == field


@pytest.mark.parametrize("order_id", ["", "a" * 65, "a b", "é", "a\n"])
def test_a_wrong_order_id_is_named(order_id: str) -> None:
    with pytest.raises(ProblemError, match="order_id: must be 1 to 64"):
        messages.check_order_id(order_id)


def test_states_go_both_ways() -> None:
    for state in State:
        assert messages.state_of(messages.state_message(state)) is state
    assert messages.state_of(orders_pb2.ORDER_STATE_UNSPECIFIED) is None
    with pytest.raises(ProblemError, match="99 is no state"):
        messages.state_of(99)  # pyright: ignore[reportArgumentType] - what a careless client sends


def test_money_is_exact_and_absent_when_unknown() -> None:
    order = Order("demo", "o", "bot", messages.terms_of(terms()), State.CONFIRMED, 5, buy_price=Decimal("0.350"))
    message = messages.order_message(order)
    assert (message.buy_price, message.sell_price, message.profit, message.terms.stake) == ("0.350", "", "", "0.35")


def test_a_quote_shows_its_last_digit() -> None:
    assert messages.tick_message(Tick("R_100", 5, Decimal("1184.9"), 2)).quote == "1184.90"

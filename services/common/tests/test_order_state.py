"""Our own word for each state, beside the wire's."""

from __future__ import annotations

from derivfleet.common.order_state import OrderState
from derivfleet.v1 import orders_pb2


def test_every_state_of_the_wire_has_its_word() -> None:
    named = [f"ORDER_STATE_{state.upper()}" for state in OrderState]
    assert named == orders_pb2.OrderState.keys()[1:]

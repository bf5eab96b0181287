"""A bot's orders are its own: nobody else takes their ids, and whoever trades for it learns what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from derivfleet.deriv.vocabulary import Dialect
from derivfleet.v1 import trading_pb2
from tests.virtual_gateway import virtual_gateway, virtual_time

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="ORDER_DIFFERS for the bot whose id it is: another one took it first"
)
@pytest.mark.parametrize("dialect", list(Dialect))
@virtual_time
async def test_a_bot_cannot_take_the_next_order_id_of_another(tmp_path: Path, dialect: Dialect) -> None:
    next_of_two = "two:1HZ100V:1795161600:0"  # ids are derived, so that anybody can tell the next one
    async with virtual_gateway(tmp_path, dialect) as fleet:
        await fleet.problem(fleet.buy(next_of_two, "one"))
        assert await fleet.problem(fleet.buy(next_of_two, "two")) is None
        assert (await fleet.order(next_of_two)).bot == "two"


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="no method of TradingService lists the caller's open orders"
)
def test_a_replica_that_takes_a_symbol_over_can_ask_what_is_open() -> None:
    methods = {method.name for method in trading_pb2.DESCRIPTOR.services_by_name["TradingService"].methods}
    assert methods & {"ListOrders", "ListOpenOrders", "ListPositions"}

"""Order ids belong to the bot that uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from derivfleet.deriv.vocabulary import Dialect
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

"""A position can be closed, whatever else is busy, refused or lost; and it is closed once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from derivfleet.deriv.vocabulary import Dialect
from derivfleet.v1 import orders_pb2
from tests.virtual_gateway import TIMED, virtual_gateway, virtual_time

if TYPE_CHECKING:
    from pathlib import Path

DIALECTS = pytest.mark.parametrize("dialect", list(Dialect))
DONE = orders_pb2.ORDER_EXIT_STATE_DONE
REFUSED = pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="LIMIT_REACHED: the sale would start in 60 s because of trade/refused"
)


@pytest.mark.parametrize("dialect", [pytest.param(Dialect.OPTIONS, marks=REFUSED), Dialect.LEGACY])
@virtual_time
async def test_a_sale_is_tried_at_once_although_deriv_has_refused_a_purchase_for_rate(
    tmp_path: Path, dialect: Dialect
) -> None:
    async with virtual_gateway(tmp_path, dialect) as fleet:
        await fleet.buy("o1", **TIMED)
        await asyncio.sleep(3)
        fleet.deriv.fault("error_before", "buy", code="RateLimit")
        assert (await fleet.buy("o2")).error_code == "RateLimit"
        assert await fleet.problem(fleet.sell("o1")) is None


@DIALECTS
@pytest.mark.parametrize("fault", ["error_after", "drop_after"])
@virtual_time
async def test_a_sale_whose_answer_says_nothing_is_proved_and_not_made_twice(
    tmp_path: Path, dialect: Dialect, fault: str
) -> None:
    async with virtual_gateway(tmp_path, dialect) as fleet:
        order = await fleet.buy("o1", **TIMED)
        await asyncio.sleep(3)
        fleet.deriv.fault(fault, "sell")
        await fleet.problem(fleet.sell("o1", "out"))
        await fleet.problem(fleet.sell("o1", "out"))
        await asyncio.sleep(10)
        again = await fleet.sell("o1", "out")
        sale = fleet.deriv.contract(order.contract_id).sale
        assert sale is not None
        assert (again.exit.state, again.exit.amount) == (DONE, f"{sale.price:f}")
        assert again.order.ending == "sold"
        assert len(fleet.deriv.calls("sell")) == 1


@DIALECTS
@virtual_time
async def test_a_sale_that_deriv_does_not_offer_is_refused_with_derivs_reason(tmp_path: Path, dialect: Dialect) -> None:
    async with virtual_gateway(tmp_path, dialect) as fleet:
        await fleet.buy("o1", duration=5)
        problem = await fleet.problem(fleet.sell("o1"))
        assert problem is not None
        assert problem.reason == "ResaleNotOffered"
        await asyncio.sleep(10)
        assert await fleet.state("o1") == "settled"

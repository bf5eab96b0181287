"""An answer counts only if it is about what was asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from derivfleet.deriv.vocabulary import Dialect
from tests.virtual_gateway import TIMED, virtual_gateway, virtual_time

if TYPE_CHECKING:
    from pathlib import Path

    from tests.virtual_gateway import Frame, Socket

DIALECTS = pytest.mark.parametrize("dialect", list(Dialect))
ANOTHER = 777


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="settled for 99.00 by the state of a contract that was not asked about"
)
@DIALECTS
@virtual_time
async def test_the_state_of_another_contract_does_not_settle_an_order(tmp_path: Path, dialect: Dialect) -> None:
    def another(frame: Frame, _: Socket) -> Frame | None:
        kind = frame.get("msg_type")
        if kind == "transaction" and "action" in frame["transaction"]:
            return None
        if kind == "proposal_open_contract":
            contract = frame["proposal_open_contract"]
            frame["proposal_open_contract"] = {
                **contract,
                "contract_id": contract["contract_id"] + ANOTHER,
                "is_sold": 1,
                "sell_price": "99.00",
            }
        return frame

    async with virtual_gateway(tmp_path, dialect) as fleet:
        fleet.deriv.on_answer = another
        await fleet.buy("o1")
        await asyncio.sleep(20)
        assert fleet.deriv.calls("proposal_open_contract")
        assert (await fleet.order("o1")).sell_price != "99.00"


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="a CALL for 10 is confirmed by the receipt of a PUT for 50"
)
@DIALECTS
@virtual_time
async def test_a_receipt_for_other_terms_is_not_believed(tmp_path: Path, dialect: Dialect) -> None:
    def another(frame: Frame, _: Socket) -> Frame:
        if frame.get("msg_type") == "buy":
            frame["buy"] |= {"buy_price": 50, "shortcode": "PUT_R_10_97.00_1795161600_1795165200_S0P_0"}
        return frame

    async with virtual_gateway(tmp_path, dialect) as fleet:
        fleet.deriv.on_answer = another
        order = await fleet.buy("o1", **TIMED)
        assert order.buy_price != "50"


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="settled for 99 by the receipt of another contract's sale"
)
@DIALECTS
@virtual_time
async def test_the_receipt_of_another_contracts_sale_does_not_settle_an_order(tmp_path: Path, dialect: Dialect) -> None:
    def another(frame: Frame, _: Socket) -> Frame | None:
        kind = frame.get("msg_type")
        if kind == "transaction" and frame["transaction"].get("action") == "sell":
            return None
        if kind == "sell":
            frame["sell"] |= {"contract_id": frame["sell"]["contract_id"] + ANOTHER, "sold_for": 99}
        return frame

    async with virtual_gateway(tmp_path, dialect) as fleet:
        fleet.deriv.on_answer = another
        await fleet.buy("o1", **TIMED)
        await asyncio.sleep(5)
        await fleet.problem(fleet.sell("o1", "out"))
        assert (await fleet.order("o1")).sell_price != "99"

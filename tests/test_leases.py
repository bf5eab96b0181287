"""A bot's symbols divided among its replicas: nobody trades what is not theirs, and no decision is traded twice."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

import grpc
import pytest
from running_fleet import DIGITS, RunningFleet, eventually, one_bot, running_fleet
from test_orders import assert_ledger_agrees, settled

from derivfleet.common.rpc.status import problem_of
from derivfleet.v1 import orders_pb2, trading_pb2

if TYPE_CHECKING:
    from pathlib import Path

SYMBOLS = ["1HZ10V", "1HZ25V", "1HZ50V", "1HZ100V"]
BOT = one_bot(symbols=SYMBOLS)


async def buy_as(fleet: RunningFleet, replica: str, epoch: int, order_id: str) -> orders_pb2.Order:
    request = trading_pb2.BuyRequest(
        account="demo",
        order_id=order_id,
        terms=orders_pb2.ContractTerms(**DIGITS),
        replica=replica,
        lease_epoch=epoch,
    )
    return (await fleet.trading.Buy(request, metadata=fleet.as_bot("one"))).order


async def refusal(fleet: RunningFleet, replica: str, epoch: int, order_id: str) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await buy_as(fleet, replica, epoch, order_id)
    problem = problem_of(caught.value)
    assert problem.code is grpc.StatusCode.FAILED_PRECONDITION
    return problem.reason


async def test_a_paused_replica_finds_its_symbols_gone_and_its_late_purchase_refused(tmp_path: Path) -> None:
    async with running_fleet(tmp_path, bots=[BOT], speed=1) as fleet:
        paused = await fleet.hold(replica="paused")
        assert set(paused) == set(SYMBOLS)
        start = time.monotonic()

        async def taken() -> dict[str, int]:
            return await fleet.hold(replica="other")

        moved = await eventually(taken, lambda held: set(held) == set(SYMBOLS))
        assert time.monotonic() - start <= 5
        assert await refusal(fleet, "paused", paused["1HZ100V"], "late") == "LEASE_LOST"
        order = await buy_as(fleet, "other", moved["1HZ100V"], "o1")
        # An order that is known is answered whoever asks, so that a successor can ask what its predecessor did.
        same = await buy_as(fleet, "paused", paused["1HZ100V"], "o1")
        assert same.contract_id == order.contract_id
        await settled(fleet, "o1")
        assert len((await fleet.account_in_ledger())["contracts"]) == 1


async def test_a_purchase_without_a_lease_is_refused(tmp_path: Path) -> None:
    async with running_fleet(tmp_path, bots=[BOT]) as fleet:
        assert await refusal(fleet, "", 0, "o1") == "LEASE_LOST"
        epochs = await fleet.hold(replica="one")
        assert await refusal(fleet, "one", epochs["1HZ100V"] + 1, "o1") == "LEASE_LOST"
        assert await refusal(fleet, "two", epochs["1HZ100V"], "o1") == "LEASE_LOST"
        assert await fleet.orders() == []
        with pytest.raises(grpc.aio.AioRpcError) as nameless:
            await fleet.hold(replica="")
        assert problem_of(nameless.value).field == "replica"


async def test_replicas_divide_the_symbols_and_no_decision_is_traded_twice(tmp_path: Path) -> None:
    async with running_fleet(tmp_path, bots=[BOT], running=("one", "one", "one"), speed=2) as fleet:

        async def traded() -> Counter[str]:
            return Counter(order.terms.symbol for order in await fleet.orders() if order.contract_id)

        await eventually(traded, lambda counts: all(counts[symbol] >= 2 for symbol in SYMBOLS))
        await fleet.stop_bot(0)
        before = await traded()
        start = time.monotonic()
        await eventually(traded, lambda counts: all(counts[symbol] > before[symbol] for symbol in SYMBOLS))
        assert time.monotonic() - start <= 8
        await fleet.restart_gateway()
        after = await traded()
        await eventually(traded, lambda counts: all(counts[symbol] > after[symbol] for symbol in SYMBOLS))
        await fleet.stop_bots()
        final = (orders_pb2.ORDER_STATE_SETTLED, orders_pb2.ORDER_STATE_DENIED, orders_pb2.ORDER_STATE_NOT_FOUND)
        orders = await eventually(fleet.orders, lambda found: all(order.state in final for order in found))
        await assert_ledger_agrees(fleet, orders)
        # An order id is bot, symbol, tick and ordinal: each decision was bought once, by whichever replica.
        decisions = Counter(order.order_id for order in orders if order.contract_id)
        assert max(decisions.values()) == 1
        assert len(await asyncio.wait_for(fleet.hold(replica="last"), 60)) == len(SYMBOLS)

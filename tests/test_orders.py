"""Orders from intent to settlement, gateway against simulator, over real sockets in both dialects."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from running_fleet import RunningFleet, eventually, one_bot, running_fleet
from schemas import assert_valid_requests

from derivfleet.common.rpc.status import problem_of
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.v1 import orders_pb2, trading_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DIALECTS = pytest.mark.parametrize("dialect", list(Dialect))
SETTLED = orders_pb2.ORDER_STATE_SETTLED


async def check(fleet: RunningFleet, order_id: str, bot: str = "one") -> orders_pb2.Order:
    request = trading_pb2.CheckRequest(account="demo", order_id=order_id)
    return (await fleet.trading.Check(request, metadata=fleet.as_bot(bot))).order


async def settled(fleet: RunningFleet, order_id: str, bot: str = "one") -> orders_pb2.Order:
    return await eventually(lambda: check(fleet, order_id, bot), lambda order: order.state == SETTLED)


async def assert_ledger_agrees(fleet: RunningFleet, orders: Sequence[orders_pb2.Order]) -> None:
    """Every purchase in the ledger is one order, and every cent is the same."""
    ledger = await fleet.account_in_ledger()
    contracts = {contract["contract_id"]: contract for contract in ledger["contracts"]}
    bought = {order.contract_id: order for order in orders if order.contract_id}
    assert set(contracts) == set(bought)
    assert len(bought) == sum(1 for order in orders if order.contract_id)
    for contract_id, order in bought.items():
        contract = contracts[contract_id]
        assert Decimal(contract["buy_price"]) == Decimal(order.buy_price)
        if order.state == SETTLED:
            assert Decimal(contract["sell_price"]) == Decimal(order.sell_price)
            assert Decimal(order.profit) == Decimal(contract["sell_price"]) - Decimal(contract["buy_price"])
    moved = sum((Decimal(movement["amount"]) for movement in ledger["movements"]), Decimal(0))
    assert Decimal(ledger["start_balance"]) + moved == Decimal(ledger["balance"])


@DIALECTS
async def test_an_order_is_bought_once_and_followed_to_its_settlement(tmp_path: Path, dialect: Dialect) -> None:
    async with running_fleet(tmp_path, dialect) as fleet:
        answer = await fleet.buy("o1")
        assert answer.order.state in (orders_pb2.ORDER_STATE_CONFIRMED, SETTLED)
        assert answer.forecast.bucket in ("trade", "virtual_buy")
        assert answer.forecast.remaining > 0
        again = await fleet.buy("o1")
        assert again.order.contract_id == answer.order.contract_id
        order = await settled(fleet, "o1")
        assert Decimal(order.profit) == Decimal(order.sell_price) - Decimal("0.35")
        assert not order.reconciled
        await assert_ledger_agrees(fleet, await fleet.orders())
        assert_valid_requests(fleet.recorder.sent, dialect)


@DIALECTS
async def test_twenty_askers_with_one_id_get_one_order(tmp_path: Path, dialect: Dialect) -> None:
    async with running_fleet(tmp_path, dialect) as fleet:
        answers = await asyncio.gather(*(fleet.buy("o1") for _ in range(20)))
        assert len({answer.order.contract_id for answer in answers}) == 1
        await settled(fleet, "o1")
        await assert_ledger_agrees(fleet, await fleet.orders())


@DIALECTS
async def test_an_orders_socket_cut_between_purchase_and_answer_loses_nothing(tmp_path: Path, dialect: Dialect) -> None:
    async with running_fleet(tmp_path, dialect, [one_bot("one"), one_bot("two")]) as fleet:
        fleet.recorder.cut_at(lambda frame: frame.get("msg_type") == "buy" and "error" not in frame)
        lost = await fleet.buy("o1")
        assert fleet.recorder.cuts == 1
        assert lost.order.state == orders_pb2.ORDER_STATE_UNKNOWN
        assert lost.order.error_code == "ConnectionClosed"
        # Another bot does not wait for the lost order, nor does the lost order get bought again.
        other = await fleet.buy("o2", bot="two")
        assert other.order.state in (orders_pb2.ORDER_STATE_CONFIRMED, SETTLED)
        again = await fleet.buy("o1")
        assert again.order.order_id == "o1"
        found = await settled(fleet, "o1")
        assert found.reconciled
        await settled(fleet, "o2", "two")
        await assert_ledger_agrees(fleet, await fleet.orders())
        account = await eventually(
            fleet.account, lambda account: all(slot.state == "ready" for slot in account.connections)
        )
        assert sum(slot.reconnects for slot in account.connections) == 1
        assert_valid_requests(fleet.recorder.sent, dialect)


@DIALECTS
async def test_a_socket_that_dies_before_the_purchase_ends_as_not_found(tmp_path: Path, dialect: Dialect) -> None:
    async with running_fleet(tmp_path, dialect, speed=20) as fleet:
        await fleet.fault({"kind": "drop_before", "call": "buy", "count": 1})
        lost = await fleet.buy("o1")
        assert lost.order.state == orders_pb2.ORDER_STATE_UNKNOWN
        order = await eventually(
            lambda: check(fleet, "o1"), lambda order: order.state != orders_pb2.ORDER_STATE_UNKNOWN
        )
        assert order.state == orders_pb2.ORDER_STATE_NOT_FOUND
        assert (await fleet.account_in_ledger())["contracts"] == []


@pytest.mark.parametrize("kind", ["garbage", "bare"])
async def test_an_answer_that_nobody_can_read_is_not_taken_for_a_failure(tmp_path: Path, kind: str) -> None:
    async with running_fleet(tmp_path, speed=20) as fleet:
        await fleet.fault({"kind": kind, "call": "buy", "count": 1})
        answer = await fleet.buy("o1")
        assert answer.order.state == orders_pb2.ORDER_STATE_UNKNOWN
        assert (await settled(fleet, "o1")).reconciled
        await assert_ledger_agrees(fleet, await fleet.orders())


async def test_a_late_answer_is_as_good_as_one_in_time(tmp_path: Path) -> None:
    async with running_fleet(tmp_path, speed=20, simulator={"statement_lag_s": 3600}) as fleet:
        await fleet.fault({"kind": "delay", "call": "buy", "count": 1, "delay_s": 150})
        answer = await fleet.buy("o1")
        assert answer.order.state == orders_pb2.ORDER_STATE_UNKNOWN
        order = await settled(fleet, "o1")
        assert order.reconciled


async def test_a_restart_of_the_gateway_forgets_nothing(tmp_path: Path) -> None:
    async with running_fleet(tmp_path) as fleet:
        await fleet.buy("o1", duration=10)
        await fleet.restart_gateway()
        answer = await fleet.buy("o1", duration=10)
        assert answer.order.order_id == "o1"
        await settled(fleet, "o1")
        await assert_ledger_agrees(fleet, await fleet.orders())
        account = await fleet.account()
        (tally,) = account.bots
        assert (tally.buys, tally.confirmed, tally.settled, tally.open) == (1, 1, 1, 0)


@DIALECTS
async def test_a_contract_can_be_sold_back(tmp_path: Path, dialect: Dialect) -> None:
    async with running_fleet(tmp_path, dialect) as fleet:
        bot = fleet.as_bot("one")
        terms: dict[str, Any] = {
            "contract_type": "CALL",
            "barrier": "",
            "duration": 10,
            "duration_unit": "m",
            "stake": "10",
        }
        await fleet.buy("o1", **terms)
        stream = fleet.trading.StreamContract(
            trading_pb2.StreamContractRequest(account="demo", order_id="o1"), metadata=bot
        )
        async for message in stream:
            if message.contract.is_valid_to_sell:
                break
        live = await fleet.trading.Check(
            trading_pb2.CheckRequest(account="demo", order_id="o1", live=True), metadata=bot
        )
        assert not live.contract.is_sold
        assert Decimal(live.contract.bid_price) > 0
        request = trading_pb2.SellRequest(account="demo", order_id="o1", min_price="9999")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await fleet.trading.Sell(request, metadata=bot)
        assert problem_of(refused.value).reason == "PriceMoved"
        sold = await fleet.trading.Sell(trading_pb2.SellRequest(account="demo", order_id="o1"), metadata=bot)
        assert sold.order.state == SETTLED
        async for message in stream:
            if message.contract.is_sold:
                break
        with pytest.raises(grpc.aio.AioRpcError) as twice:
            await fleet.trading.Sell(trading_pb2.SellRequest(account="demo", order_id="o1"), metadata=bot)
        assert problem_of(twice.value).reason == "ORDER_NOT_OPEN"
        await assert_ledger_agrees(fleet, await fleet.orders())
        assert_valid_requests(fleet.recorder.sent, dialect)


async def test_an_order_that_deriv_refuses_is_rejected_with_its_reason(tmp_path: Path) -> None:
    bots = [one_bot(symbols=["1HZ100V", "NEW_5"])]
    async with running_fleet(tmp_path, bots=bots, simulator={"start_balance": "1.00"}) as fleet:
        answer = await fleet.buy("o1", stake="5")
        assert answer.order.state == orders_pb2.ORDER_STATE_REJECTED
        assert answer.order.error_code == "InsufficientBalance"
        unknown = await fleet.buy("o2", symbol="NEW_5")
        assert unknown.order.error_code == "InvalidSymbol"


async def test_a_limit_refuses_at_once_and_says_when_to_come_back(tmp_path: Path) -> None:
    limits = [{"key": "demo", "limits": {"headroom": 0.02}}]
    async with running_fleet(tmp_path, accounts=limits, speed=1) as fleet:
        allowed = 4  # 360 a minute, of which 2 %, of which a part is kept for exits until late in the minute
        for number in range(allowed):
            await fleet.buy(f"o{number}", deadline_wall_s=20)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await fleet.buy(f"o{allowed}", deadline_wall_s=20)
        problem = problem_of(refused.value)
        assert (problem.code, problem.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_REACHED")
        assert problem.retry_after_s is not None
        assert 0 < problem.retry_after_s < 60 / fleet.clock.speed + 0.25  # the window and its margin
        assert "trade/60s" in problem.message
        assert problem.metadata["order_id"] == f"o{allowed}"
        # The answer for that id stays the same, and Deriv never heard of it.
        with pytest.raises(grpc.aio.AioRpcError) as same:
            await fleet.buy(f"o{allowed}")
        assert problem_of(same.value).reason == "LIMIT_REACHED"
        await assert_ledger_agrees(fleet, await fleet.orders())
        assert (await fleet.account()).rejected_by_deriv == 0


async def test_the_same_id_with_another_body_names_the_field(tmp_path: Path) -> None:
    async with running_fleet(tmp_path, bots=[one_bot("one"), one_bot("two")]) as fleet:
        await fleet.buy("o1")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await fleet.buy("o1", stake="0.36")
        problem = problem_of(caught.value)
        assert (problem.code, problem.field) == (grpc.StatusCode.FAILED_PRECONDITION, "terms.stake")
        with pytest.raises(grpc.aio.AioRpcError) as stolen:
            await fleet.buy("o1", bot="two")
        assert problem_of(stolen.value).reason == "ORDER_DIFFERS"
        with pytest.raises(grpc.aio.AioRpcError) as foreign:
            await check(fleet, "o1", "two")
        assert problem_of(foreign.value).reason == "ORDER_UNKNOWN"

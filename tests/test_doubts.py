"""Orders and exits in doubt, gateway against simulator over real sockets: proved, found, or handed to an operator."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest
from running_fleet import DIGITS, TOKEN, RunningFleet, eventually, one_bot, running_fleet
from schemas import assert_valid_requests
from test_orders import DIALECTS, SETTLED, assert_ledger_agrees, check, settled

from derivfleet.common.rpc.status import problem_of
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.v1 import control_pb2, orders_pb2, reports_pb2, trading_pb2

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

CALL: dict[str, Any] = {"contract_type": "CALL", "barrier": "", "duration": 10, "duration_unit": "m", "stake": "10"}
UNKNOWN, DONE, NOT_DONE = (
    orders_pb2.ORDER_EXIT_STATE_UNKNOWN,
    orders_pb2.ORDER_EXIT_STATE_DONE,
    orders_pb2.ORDER_EXIT_STATE_NOT_DONE,
)


async def hold(fleet: RunningFleet, order_id: str) -> None:
    """Buy a contract that can be sold back, and wait until it can."""
    await fleet.buy(order_id, **CALL)
    request = trading_pb2.StreamContractRequest(account="demo", order_id=order_id)
    async for message in fleet.trading.StreamContract(request, metadata=fleet.as_bot("one")):
        if message.contract.is_valid_to_sell:
            return


async def sell(fleet: RunningFleet, order_id: str, exit_id: str) -> trading_pb2.SellResponse:
    request = trading_pb2.SellRequest(account="demo", order_id=order_id, exit_id=exit_id)
    return await fleet.trading.Sell(request, metadata=fleet.as_bot("one"))


async def given_up(fleet: RunningFleet, call: Coroutine[object, object, object]) -> None:
    """Make a call whose answer will not come, and stop waiting for it once Deriv has had it."""
    asking = asyncio.create_task(call)
    await eventually(fleet.faults, lambda found: bool(found[-1]["happened"]))
    asking.cancel()
    await asyncio.wait((asking,))
    assert asking.cancelled()


def sales(fleet: RunningFleet) -> int:
    return sum("sell" in frame for frame in fleet.recorder.sent)


async def exit_decided(fleet: RunningFleet, order_id: str) -> orders_pb2.Order:
    return await eventually(lambda: check(fleet, order_id), lambda order: order.exits[-1].state != UNKNOWN)


@DIALECTS
async def test_a_sale_whose_answer_is_lost_is_proved_by_the_contract(tmp_path: Path, dialect: Dialect) -> None:
    async with running_fleet(tmp_path, dialect) as fleet:
        await hold(fleet, "o1")
        fleet.recorder.cut_at(lambda frame: frame.get("msg_type") == "sell")
        lost = await sell(fleet, "o1", "out")
        # The news of the sale on the other socket may be faster than the loss of this one.
        assert lost.exit.state in (UNKNOWN, DONE)
        order = await settled(fleet, "o1")
        assert (order.ending, order.exits[-1].state) == ("sold", DONE)
        again = await sell(fleet, "o1", "out")
        assert (again.exit.state, again.exit.amount) == (DONE, order.sell_price)
        assert sales(fleet) == 1
        await assert_ledger_agrees(fleet, await fleet.orders())
        assert_valid_requests(fleet.recorder.sent, dialect)


async def test_a_sale_that_never_arrived_is_proved_too_and_may_be_tried_again(tmp_path: Path) -> None:
    async with running_fleet(tmp_path) as fleet:
        await hold(fleet, "o1")
        await fleet.fault({"kind": "drop_before", "call": "sell", "count": 1})
        assert (await sell(fleet, "o1", "out")).exit.state == UNKNOWN
        with pytest.raises(grpc.aio.AioRpcError) as early:
            await sell(fleet, "o1", "again")
        assert problem_of(early.value).reason == "EXIT_NOT_DECIDED"
        assert (await exit_decided(fleet, "o1")).exits[-1].state == NOT_DONE
        assert sales(fleet) == 1
        sold = await sell(fleet, "o1", "again")
        assert (sold.order.state, sold.exit.state, sold.order.ending) == (SETTLED, DONE, "sold")
        request = trading_pb2.SellRequest(account="demo", order_id="o1", exit_id="again", min_price="1")
        with pytest.raises(grpc.aio.AioRpcError) as other:
            await fleet.trading.Sell(request, metadata=fleet.as_bot("one"))
        problem = problem_of(other.value)
        assert (problem.reason, problem.field) == ("EXIT_DIFFERS", "min_price")
        await assert_ledger_agrees(fleet, await fleet.orders())


async def test_a_sale_under_way_when_the_gateway_ends_is_proved_by_the_next_one(tmp_path: Path) -> None:
    async with running_fleet(tmp_path) as fleet:
        await hold(fleet, "o1")
        await fleet.fault({"kind": "half_open", "call": "sell", "count": 1})
        await given_up(fleet, sell(fleet, "o1", "out"))
        await fleet.restart_gateway()
        order = await settled(fleet, "o1")
        assert (order.ending, order.exits[-1].exit_id, order.exits[-1].state) == ("sold", "out", DONE)
        assert sales(fleet) == 1


async def test_cancelling_and_updating_are_refused_for_these_contracts_and_written_down(tmp_path: Path) -> None:
    async with running_fleet(tmp_path) as fleet:
        await hold(fleet, "o1")
        bot = fleet.as_bot("one")
        with pytest.raises(grpc.aio.AioRpcError) as cancelled:
            await fleet.trading.Cancel(trading_pb2.CancelRequest(account="demo", order_id="o1"), metadata=bot)
        assert problem_of(cancelled.value).reason == "CannotCancelContract"
        change = trading_pb2.UpdateContractRequest(account="demo", order_id="o1", take_profit="2.50", stop_loss="")
        with pytest.raises(grpc.aio.AioRpcError) as updated:
            await fleet.trading.UpdateContract(change, metadata=bot)
        assert problem_of(updated.value).reason == "ContractUpdateNotAllowed"
        empty = trading_pb2.UpdateContractRequest(account="demo", order_id="o1")
        with pytest.raises(grpc.aio.AioRpcError) as nothing:
            await fleet.trading.UpdateContract(empty, metadata=bot)
        assert problem_of(nothing.value).reason == "FIELD_INVALID"
        exits = (await check(fleet, "o1")).exits
        assert [(one.kind, one.error_code) for one in exits] == [
            ("cancel", "CannotCancelContract"),
            ("update", "ContractUpdateNotAllowed"),
        ]
        assert (exits[1].take_profit, exits[1].HasField("stop_loss"), exits[1].stop_loss) == ("2.50", True, "")
        assert_valid_requests(fleet.recorder.sent, Dialect.OPTIONS)


@DIALECTS
async def test_the_stream_on_the_other_socket_finds_a_lost_purchase(tmp_path: Path, dialect: Dialect) -> None:
    async with running_fleet(tmp_path, dialect, simulator={"statement_lag_s": 3600}) as fleet:
        fleet.recorder.cut_at(lambda frame: frame.get("msg_type") == "buy" and "error" not in frame)
        assert (await fleet.buy("o1")).order.state == orders_pb2.ORDER_STATE_UNKNOWN
        order = await settled(fleet, "o1")
        assert (order.attribution, order.reconciled, order.found_late) == ("record", True, False)
        await assert_ledger_agrees(fleet, await fleet.orders())
        assert (await fleet.account()).foreign_trades == 0


async def test_a_purchase_that_the_statement_shows_after_minutes_is_found_by_the_watch(tmp_path: Path) -> None:
    async with running_fleet(tmp_path, speed=20, simulator={"statement_lag_s": 240}) as fleet:
        await fleet.fault({"kind": "half_open", "call": "buy", "count": 1})
        await given_up(fleet, fleet.buy("o1"))
        # The next gateway has not heard the stream, and the contract is over before it can look.
        await fleet.restart_gateway()
        absent = await eventually(
            lambda: check(fleet, "o1"), lambda order: order.state == orders_pb2.ORDER_STATE_NOT_FOUND
        )
        assert absent.reconciled
        order = await settled(fleet, "o1")
        assert (order.found_late, order.attribution) == (True, "record")
        (tally,) = (await fleet.account()).bots
        assert (tally.found_late, tally.errors, tally.denied) == (1, 0, 0)
        await assert_ledger_agrees(fleet, await fleet.orders())


async def trade_beside(fleet: RunningFleet, stake: float) -> int:
    """Buy on the same account as somebody else would; the contract's id."""
    login_id = (await fleet.account()).login_id
    headers = {"Authorization": f"Bearer {TOKEN}", "Deriv-App-ID": "testApp"}
    parameters = {
        **{key: value for key, value in DIGITS.items() if key not in ("symbol", "stake")},
        "underlying_symbol": DIGITS["symbol"],
        "amount": stake,
        "basis": "stake",
        "currency": "USD",
    }
    async with aiohttp.ClientSession(headers=headers) as session:
        path = f"/trading/v1/options/accounts/{login_id}/otp"
        async with session.post(fleet.simulator_url + path) as answer:
            url = (await answer.json())["data"]["url"]
        async with session.ws_connect(url) as socket:
            await socket.send_json({"buy": "1", "price": stake, "parameters": parameters, "req_id": 1})
            frame = await socket.receive_json()
            return int(frame["buy"]["contract_id"])


async def test_foreign_trades_are_told_and_what_looks_like_them_is_left_to_an_operator(tmp_path: Path) -> None:
    async with running_fleet(tmp_path, bots=[one_bot("one"), one_bot("two")]) as fleet:
        foreign = await trade_beside(fleet, 0.35)
        account = await eventually(fleet.account, lambda account: account.foreign_trades == 1)
        (trade,) = account.newest_foreign_trades
        assert (trade.contract_id, trade.symbol, Decimal(trade.buy_price)) == (foreign, "1HZ100V", Decimal("0.35"))

        fleet.recorder.cut_at(lambda frame: frame.get("msg_type") == "buy" and "error" not in frame)
        assert (await fleet.buy("o1")).order.state == orders_pb2.ORDER_STATE_UNKNOWN
        order = await eventually(lambda: check(fleet, "o1"), lambda order: bool(order.doubt))
        assert order.doubt == "foreign_trades"
        (candidate,) = order.candidates
        # The same bot buys no more of that, another one does.
        with pytest.raises(grpc.aio.AioRpcError) as blocked:
            await fleet.buy("o2")
        problem = problem_of(blocked.value)
        assert (problem.reason, problem.metadata["doubtful"]) == ("ORDER_DOUBTFUL", "o1")
        await settled(fleet, (await fleet.buy("o3", bot="two")).order.order_id, "two")

        request = control_pb2.ListOrdersRequest(doubtful=True)
        listed = await fleet.control.ListOrders(request, metadata=fleet.as_operator)
        assert [one.order_id for one in listed.orders] == ["o1"]
        resolving = control_pb2.ResolveOrderRequest(order_id="o1", contract_id=candidate.contract_id)
        with pytest.raises(grpc.aio.AioRpcError) as denied:
            await fleet.control.ResolveOrder(resolving, metadata=fleet.as_bot("metrics"))
        assert problem_of(denied.value).reason == "OPERATOR_NEEDED"
        resolved = await fleet.control.ResolveOrder(resolving, metadata=fleet.as_operator)
        assert (resolved.order.attribution, resolved.order.resolved_by) == ("operator", "operator")
        await settled(fleet, "o1")
        with pytest.raises(grpc.aio.AioRpcError) as twice:
            await fleet.control.ResolveOrder(resolving, metadata=fleet.as_operator)
        assert problem_of(twice.value).reason == "ORDER_NOT_OPEN"
        assert (await fleet.buy("o2")).order.contract_id
        ledger = await fleet.account_in_ledger()
        orders = await fleet.orders()
        assert {one["contract_id"] for one in ledger["contracts"]} == {foreign, *(one.contract_id for one in orders)}


async def test_a_doubt_is_in_the_report_and_on_the_page_until_it_is_decided(tmp_path: Path) -> None:
    async with running_fleet(tmp_path, bots=[one_bot("one"), one_bot("two")], running=(), with_metrics=True) as fleet:
        foreign = await trade_beside(fleet, 0.35)
        await eventually(fleet.account, lambda account: account.foreign_trades == 1)
        fleet.recorder.cut_at(lambda frame: frame.get("msg_type") == "buy" and "error" not in frame)
        await fleet.buy("o1")

        async def seen() -> reports_pb2.Completeness:
            request = reports_pb2.GetReportRequest(account="demo", period_s=86_400)
            return (await fleet.reports.GetReport(request, metadata=fleet.as_operator)).report.completeness

        told = await eventually(seen, lambda one: one.orders_doubtful == 1)
        assert (told.orders_unknown, told.staked_unknown, told.complete) == (1, "0.35", False)
        found = await fleet.fetch(f"{fleet.web_url}/api/orders?state=unknown", fleet.page_token)
        assert [(one["order_id"], one["doubt"]) for one in found["orders"]] == [("o1", "foreign_trades")]
        order = await check(fleet, "o1")
        (candidate,) = order.candidates
        assert candidate.contract_id != foreign
        resolving = control_pb2.ResolveOrderRequest(order_id="o1", contract_id=candidate.contract_id)
        await fleet.control.ResolveOrder(resolving, metadata=fleet.as_operator)
        over = await eventually(seen, lambda one: one.orders_unknown == 0)
        assert (over.orders_doubtful, over.staked_unknown) == (0, "0")

"""The whole chain: bots decide, the gateway buys, Deriv's stand-in settles, the metrics service reports."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from running_fleet import RunningFleet, eventually, one_bot, running_fleet
from schemas import assert_valid_requests
from test_orders import assert_ledger_agrees

from derivfleet.deriv.vocabulary import Dialect
from derivfleet.v1 import orders_pb2, reports_pb2

if TYPE_CHECKING:
    from pathlib import Path

AVERAGES = {"strategy": "moving_average", "parameters": {"fast_ticks": 2, "slow_ticks": 4, "duration_ticks": 1}}
BOTS = [one_bot("digits"), one_bot("averages", **AVERAGES), one_bot("idle")]
FINAL = (
    orders_pb2.ORDER_STATE_SETTLED,
    orders_pb2.ORDER_STATE_DENIED,
    orders_pb2.ORDER_STATE_NOT_FOUND,
)


async def bought_by(fleet: RunningFleet, count: int) -> dict[str, int]:
    """How many orders each bot has settled."""
    settled = {bot.bot: bot.settled for bot in (await fleet.account()).bots}
    return {name: min(settled[name], count) for name in ("digits", "averages")}


@pytest.mark.parametrize("dialect", list(Dialect))
async def test_decisions_become_settled_trades_and_a_report(tmp_path: Path, dialect: Dialect) -> None:
    async with running_fleet(
        tmp_path, dialect, BOTS, running=("digits", "averages"), speed=4, with_metrics=True
    ) as fleet:
        await eventually(lambda: bought_by(fleet, 3), lambda done: done == {"digits": 3, "averages": 3})
        assert_valid_requests(fleet.recorder.sent, dialect)
        account = await fleet.account()
        assert account.rejected_by_deriv == 0
        assert account.foreign_trades == 0
        assert {bot.bot: bot.buys for bot in account.bots}["idle"] == 0

        async def report() -> reports_pb2.Report:
            request = reports_pb2.GetReportRequest(account="demo", period_s=86_400)
            return (await fleet.reports.GetReport(request, metadata=fleet.as_operator)).report

        full = await eventually(
            report, lambda found: found.fleet.settled >= 6 and found.completeness.orders_traced >= 6
        )
        by_bot = {bot.bot: bot for bot in full.bots}
        orders = [order for order in await fleet.orders() if order.state == orders_pb2.ORDER_STATE_SETTLED]
        for name in ("digits", "averages"):
            own = sorted((order for order in orders if order.bot == name), key=lambda order: order.settled_time_ns)
            own = own[: by_bot[name].settled]
            assert Decimal(by_bot[name].profit) == sum((Decimal(order.profit) for order in own), Decimal(0))
            assert by_bot[name].wins == sum(Decimal(order.profit) > 0 for order in own)
            phases = {phase.phase: phase for phase in by_bot[name].phases}
            assert {"decide", "queue", "upstream", "buy", "settle"} <= set(phases)
            assert 0 < phases["buy"].p50_ms <= phases["buy"].p99_ms
        assert full.completeness.feed_connected
        page = await fleet.fetch(f"{fleet.web_url}/api/report?period=86400", fleet.page_token)
        assert page


async def test_a_cut_socket_does_not_stop_the_fleet(tmp_path: Path) -> None:
    async with running_fleet(tmp_path, bots=BOTS, running=("digits", "averages"), speed=4) as fleet:
        fleet.recorder.cut_at(lambda frame: frame.get("msg_type") == "buy" and "error" not in frame)
        await eventually(lambda: bought_by(fleet, 4), lambda done: done == {"digits": 4, "averages": 4})
        assert fleet.recorder.cuts == 1

        async def lost() -> list[orders_pb2.Order]:
            return [order for order in await fleet.orders() if order.reconciled]

        # Both bots may have had an order on the socket when it was cut, and the other's may not have reached Deriv.
        found = await eventually(lost, lambda orders: 1 <= len(orders) <= 2)
        assert any(order.contract_id for order in found)
        await fleet.stop_bots()
        settled = await eventually(fleet.orders, lambda orders: all(order.state in FINAL for order in orders))
        await assert_ledger_agrees(fleet, settled)
        assert_valid_requests(fleet.recorder.sent, Dialect.OPTIONS)


async def test_what_bots_leave_open_the_gateway_settles(tmp_path: Path) -> None:
    slow = one_bot(
        "digits", parameters={"side": "over", "barrier": 4, "window_ticks": 5, "deficit": -1.0, "duration_ticks": 10}
    )
    async with running_fleet(tmp_path, bots=[slow], running=("digits",), speed=1) as fleet:
        await eventually(fleet.orders, lambda orders: any(order.contract_id for order in orders))
        await fleet.stop_bots()
        orders = await eventually(fleet.orders, lambda orders: all(order.state in FINAL for order in orders))
        await assert_ledger_agrees(fleet, orders)

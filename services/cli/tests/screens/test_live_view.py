"""What the terminal shows of a fleet."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console

from derivfleet.cli.clients import OPERATOR, ControlClient
from derivfleet.cli.run.fleet_status import BotLine, FleetStatus, StatusPoller
from derivfleet.cli.run.supervisor import ChildState, ChildView
from derivfleet.cli.screens.live_view import RunTime, live_screen, progress_line
from derivfleet.v1 import control_pb2, orders_pb2

if TYPE_CHECKING:
    from conftest import Fleet

CHILDREN = [
    ChildView("gateway", ChildState.WAITING, 10, 1, 1, killed=False),
    ChildView("over-4", ChildState.RUNNING, 11, 0, None, killed=False),
    ChildView("trend-75", ChildState.RUNNING, 12, 3, 1, killed=False),
]
BOTS = ("over-4", "trend-75")


def text_of(status: FleetStatus, time: RunTime, width: int = 160, height: int = 50) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(live_screen(status, time, "http://127.0.0.1:7680/#token=page_reader.x", width, height))
    return console.export_text()


async def status_of(fleet: Fleet) -> FleetStatus:
    fleet.control.orders = [
        orders_pb2.Order(
            bot="over-4",
            order_id="over-4:R_100:1:0",
            state=orders_pb2.ORDER_STATE_DENIED,
            error_code="LIMIT_REACHED",
            intended_time_ns=1_795_161_600_000_000_000,
            terms=orders_pb2.ContractTerms(contract_type="CALL", symbol="R_100", duration=5, duration_unit="t"),
        )
    ]
    run = fleet.folder.read_file()
    async with ControlClient(run.gateway, fleet.folder.token(OPERATOR)) as client:
        return await StatusPoller(client, BOTS).poll(CHILDREN)


async def test_the_screen_shows_bots_quota_orders_profit_and_the_page(fleet: Fleet) -> None:
    text = text_of(await status_of(fleet), RunTime(12.0, 60.0))
    for words in (
        "DOT90000001 (demo, options)",
        "balance 10001.23 USD",
        "http://127.0.0.1:7680",
        "12 of 60 s",
        "running ↻3",
        "90/360",
        "19 of trade/60s borrowed · 3 waiting · 129 calls saved",
        "denied LIMIT_REACHED",
        "08:00:00",
        "CALL 5t",
    ):
        assert words in text


async def test_the_screen_says_what_is_wrong(fleet: Fleet) -> None:
    breaker = control_pb2.CircuitBreakerStatus(state="half_open", reason="5 calls in a row failed")
    fleet.control.status.accounts[0].breaker.CopyFrom(breaker)
    text = text_of(await status_of(fleet), RunTime(12.0, 0))
    assert "breaker half open: 5 calls in a row failed" in text
    for words in ("gateway restarting", "reads socket waiting: no route to host", "1 calls refused", "2 trades on the"):
        assert words in text
    assert " of " not in text.splitlines()[5], "without a duration there is no progress"


async def test_the_screen_is_never_larger_than_the_terminal(fleet: Fleet) -> None:
    status = await status_of(fleet)
    counts = control_pb2.BotStatus(ops=1_234, buys=1_234, settled=1_234, profit="-1234.56")
    many = tuple(BotLine(f"bot-{number:02}", "restarting", number, counts) for number in range(12))
    for width, height in itertools.product((66, 80, 120), (19, 24, 30, 60)):
        for bots in (status.bots, many):
            text = text_of(replace(status, bots=bots, orders=status.orders * 50), RunTime(12.0, 60.0), width, height)
            assert len(text.splitlines()) < height, text
            assert max(map(len, text.splitlines())) <= width
            assert "…" not in text.partition("last orders")[0]
            assert "Ctrl-C" in text
            assert "fleet" in text
    short = text_of(replace(status, bots=many), RunTime(12.0, 60.0), 80, 24)
    assert "and 4 more" in short
    assert "bot-07" in short
    assert "bot-08" not in short
    assert "order id" in text_of(status, RunTime(1, 0), 120, 40)
    assert "order id" not in text_of(status, RunTime(1, 0), 80, 40)


async def test_a_line_of_progress_sums_the_fleet_up(fleet: Fleet) -> None:
    line = progress_line(await status_of(fleet), RunTime(12.4, 60))
    assert line.strip().split("  ") == [
        "12 s",
        "bots 2/2",
        "buys 5",
        "open 2",
        "settled 4",
        "wins 2",
        "profit -0.26",
        "unknown 1",
        "rejected 2",
        "trade/60s 25%",
    ]


async def test_a_gateway_that_does_not_answer_leaves_the_last_status_marked(fleet: Fleet) -> None:
    run = fleet.folder.read_file()
    async with ControlClient(run.gateway, fleet.folder.token(OPERATOR)) as client:
        poller = StatusPoller(client, BOTS)
        await poller.poll(CHILDREN)
        fleet.control.status.accounts[0].windows[0].used = 300
        await poller.poll(CHILDREN)
        fleet.control.status.accounts[0].windows[0].used = 3
        await poller.poll(CHILDREN)
        await fleet.stop()
        status = await poller.poll(CHILDREN)
    assert "does not answer" in status.problem
    assert status.total("settled") == 4
    assert poller.utilisation == {"trade/60s": 0.8333}
    assert "does not answer" in progress_line(status, RunTime(1, 0))
    assert "does not answer" in text_of(status, RunTime(1, 0))


def test_before_the_gateway_has_answered_the_screen_waits() -> None:
    status = FleetStatus(None, (), (), (), 0, "")
    assert "waiting for Deriv" in text_of(status, RunTime(0, 0))
    assert status.profit == 0

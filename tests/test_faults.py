"""Orders when a socket is killed, falls silent or becomes slow, when logins are refused, when answers are rubbish.

None is lost, none is bought twice, and trading goes on. How soon it does is printed, and kept in
``build/recovery.json``.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest
from running_fleet import RunningFleet, eventually, running_fleet
from test_orders import assert_ledger_agrees

from derivfleet.common.rpc.status import problem_of
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.v1 import orders_pb2, trading_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from derivfleet.common.rpc.status import Problem

SPEED = 6
"""At this speed no span of the gateway's patience is lengthened for the wall's sake but that of giving a socket up."""
BURST = 10
PROBE_EVERY_S = 0.5
WALL_SLACK_S = 1.0
"""What a busy machine may add to a recovery."""
FINAL = {
    orders_pb2.ORDER_STATE_SETTLED,
    orders_pb2.ORDER_STATE_DENIED,
    orders_pb2.ORDER_STATE_REJECTED,
    orders_pb2.ORDER_STATE_NOT_FOUND,
}
FAULT_WIDTH = 30
SICKNESS = "5 server errors"
OPTIONS, LEGACY = Dialect.OPTIONS, Dialect.LEGACY
REPORT = Path(__file__).parents[1] / "build/recovery.json"


@dataclass
class Recovery:
    """One line of the table; times are fleet time."""

    fault: str
    recovered_s: float
    bound_s: float
    bought: int = 0
    found: int = 0
    not_found: int = 0
    denied: int = 0


@pytest.fixture(scope="module")
def recoveries(request: pytest.FixtureRequest) -> Generator[list[Recovery], None, None]:
    """Collects the table, prints it and writes it down."""
    rows: list[Recovery] = []
    yield rows
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps({"speed": SPEED, "faults": [asdict(row) for row in rows]}, indent=2) + "\n")
    capture: Any = request.config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(_table(rows))  # noqa: T201 - what the tests are for


def _table(rows: list[Recovery]) -> str:
    counts = " ".join(f"{title:>9}" for title in ("bought", "found", "not found", "denied"))
    lines = [f"{'fault':{FAULT_WIDTH}} {'recovered after':>15} {counts}"]
    for row in rows:
        counts = " ".join(f"{count:9}" for count in (row.bought, row.found, row.not_found, row.denied))
        lines.append(f"{row.fault:{FAULT_WIDTH}} {row.recovered_s:13.1f} s {counts}")
    return "\n\n" + "\n".join(lines)


class Trader:
    """Buys with a different stake each time, so that every frame and every contract can be told from the others."""

    def __init__(self, fleet: RunningFleet) -> None:
        self.fleet = fleet
        self.buys: list[asyncio.Task[orders_pb2.Order | None]] = []
        self.problems: list[Problem] = []

    def buy(self, duration: int = 1) -> asyncio.Task[orders_pb2.Order | None]:
        """Start a purchase; its result is the order, or None if it was refused."""
        number = len(self.buys)
        stake = f"{Decimal('0.35') + number * Decimal('0.01')}"

        async def ask() -> orders_pb2.Order | None:
            try:
                answer = await self.fleet.buy(f"o{number}", stake=stake, duration=duration, deadline_wall_s=10)
            except grpc.aio.AioRpcError as error:
                self.problems.append(problem_of(error))
                return None
            return answer.order

        self.buys.append(asyncio.ensure_future(ask()))
        return self.buys[-1]

    async def confirmed(self, patience_s: float = 60) -> orders_pb2.Order:
        """Buy again and again, whatever becomes of it, until one is confirmed; returns the first."""
        clock = self.fleet.clock
        probes: list[asyncio.Task[orders_pb2.Order | None]] = []
        end_s = clock.now_s() + patience_s
        while True:
            probes.append(self.buy())
            await clock.sleep(PROBE_EVERY_S)
            answers = [probe.result() for probe in probes if probe.done()]
            bought = [order for order in answers if order is not None and order.contract_id]
            if bought:
                return min(bought, key=lambda order: order.answered_time_ns)
            assert clock.now_s() < end_s, f"no order was confirmed within {patience_s} s"

    async def every_end(self) -> list[orders_pb2.Order]:
        """Wait until every order has ended in a known way; returns all of them."""
        await asyncio.gather(*self.buys)
        return await eventually(
            self.fleet.orders, lambda orders: all(order.state in FINAL for order in orders), patience_s=60
        )

    async def assert_nothing_lost_or_doubled(self) -> Counter[str]:
        """Compare orders, frames and the simulator's ledger; returns how the orders ended."""
        orders = await self.every_end()
        assert len(orders) == len(self.buys)
        await assert_ledger_agrees(self.fleet, orders)
        stakes = {order.terms.stake for order in orders if order.contract_id}
        contracts = (await self.fleet.account_in_ledger())["contracts"]
        assert sorted(contract["buy_price"] for contract in contracts) == sorted(stakes)
        # Not one frame went out twice, and none for an order that is said not to have been sent.
        frames = [f"{frame['parameters']['amount']:.2f}" for frame in self.fleet.recorder.sent if "buy" in frame]
        sent = [order.terms.stake for order in orders if order.sent_time_ns]
        assert Counter(frames) <= Counter(sent)
        return Counter(_end_of(order) for order in orders)


def _end_of(order: orders_pb2.Order) -> str:
    match order.state:
        case orders_pb2.ORDER_STATE_SETTLED:
            return "found" if order.reconciled else "bought"
        case orders_pb2.ORDER_STATE_NOT_FOUND:
            return "not_found"
        case _:
            return "denied"


async def clear_faults(fleet: RunningFleet) -> None:
    async with aiohttp.ClientSession() as session, session.delete(f"{fleet.simulator_url}/faults") as answer:
        assert answer.status == 200


async def slots_are(fleet: RunningFleet, state: str) -> None:
    await eventually(fleet.account, lambda account: {slot.state for slot in account.connections} == {state})


@asynccontextmanager
async def trading(folder: Path, dialect: Dialect = OPTIONS) -> AsyncGenerator[Trader, None]:
    """A running fleet whose sockets are both there, and that has bought once."""
    async with running_fleet(folder, dialect, speed=SPEED) as fleet:
        trader = Trader(fleet)
        await slots_are(fleet, "ready")
        order = await trader.buy()
        assert order is not None
        assert order.contract_id
        yield trader


CASES: list[Any] = [
    pytest.param("killed (1006)", OPTIONS, {"kind": "drop_after"}, [], 2.0, id="killed"),
    pytest.param("closed (1001)", LEGACY, {"kind": "drop_after", "abrupt": False}, [], 2.0, id="closed"),
    pytest.param("half-open", OPTIONS, {"kind": "half_open"}, [], 6.0, id="half-open"),
    pytest.param("slow (4 s an answer)", OPTIONS, {"kind": "slow", "delay_s": 4}, [], 6.0, id="slow"),
    pytest.param("garbage (6 answers)", OPTIONS, {"kind": "garbage", "count": 6}, [], 2.0, id="garbage"),
    pytest.param(
        "killed, 3 logins refused",
        OPTIONS,
        {"kind": "drop_after"},
        [{"kind": "drop_before", "call": "statement", "count": 1}, {"kind": "refuse_login", "count": 3}],
        12.0,
        id="logins refused",
    ),
    pytest.param(
        "killed, 3 handshakes refused",
        LEGACY,
        {"kind": "drop_after"},
        [{"kind": "drop_before", "call": "statement", "count": 1}, {"kind": "refuse_handshake", "count": 3}],
        12.0,
        id="handshakes refused",
    ),
]


@pytest.mark.parametrize(("fault", "dialect", "rule", "more", "bound_s"), CASES)
async def test_no_order_is_lost_or_doubled_and_trading_goes_on(
    tmp_path: Path,
    recoveries: list[Recovery],
    fault: str,
    dialect: Dialect,
    rule: dict[str, Any],
    more: list[dict[str, Any]],
    bound_s: float,
) -> None:
    async with trading(tmp_path, dialect) as trader:
        fleet = trader.fleet
        for other in more:
            await fleet.fault(other)
        await fleet.fault({"call": "buy", "skip": 4, "count": 1, **rule})
        burst = [trader.buy() for _ in range(BURST)]
        since_ns = fleet.clock.now_ns()
        while not (await fleet.faults())[-1]["happened"]:
            since_ns = fleet.clock.now_ns()
        if more:  # both sockets die, and until one is there again nothing is bought
            await eventually(fleet.account, lambda account: "ready" not in {one.state for one in account.connections})
        first = await trader.confirmed()
        recovery = Recovery(fault, (first.answered_time_ns - since_ns) / 1e9, bound_s)
        recoveries.append(recovery)
        ends = await trader.assert_nothing_lost_or_doubled()
        recovery.bought, recovery.found = ends["bought"], ends["found"]
        recovery.not_found, recovery.denied = ends["not_found"], ends["denied"]
        assert all(task.done() for task in burst)
        assert recovery.recovered_s <= bound_s + fleet.clock.fleet_s(WALL_SLACK_S)
        await clear_faults(fleet)
        await slots_are(fleet, "ready")


async def test_while_deriv_is_sick_no_order_is_opened_but_positions_are_closed(
    tmp_path: Path, recoveries: list[Recovery]
) -> None:
    async with trading(tmp_path) as trader:
        fleet, bot = trader.fleet, trader.fleet.as_bot("one")
        long: dict[str, Any] = {"contract_type": "CALL", "barrier": "", "duration": 10, "duration_unit": "m"}
        held = (await fleet.buy("held", stake="5", **long)).order
        watched = trading_pb2.StreamContractRequest(account="demo", order_id=held.order_id)
        async for message in fleet.trading.StreamContract(watched, metadata=bot):
            if message.contract.is_valid_to_sell:
                break
        await fleet.fault({"kind": "error_after", "call": "buy", "code": "InternalServerError"})
        for _ in range(5):
            order = await trader.buy()
            assert order is not None
            assert (order.state, order.error_code) == (orders_pb2.ORDER_STATE_UNKNOWN, "InternalServerError")
        while True:  # on a busy machine the first may come so late that it is the one that is let through
            sent = len(fleet.recorder.sent)
            if await trader.buy() is None:
                break
        problem = trader.problems[-1]
        assert (problem.code, problem.reason) == (grpc.StatusCode.ABORTED, "DERIV_SICK")
        assert "Deriv is sick" in problem.message
        assert problem.metadata["final"] == "true"
        assert problem.retry_after_s is not None
        assert 0 < problem.retry_after_s <= 60 / SPEED
        assert not [frame for frame in fleet.recorder.sent[sent:] if "buy" in frame]
        breaker = (await fleet.account()).breaker
        assert (breaker.state, "InternalServerError" in breaker.reason) == ("open", True)
        assert breaker.retry_time_ns > breaker.since_time_ns
        history = trading_pb2.HistoryRequest(account="demo", symbol="R_50", count=10)
        assert len((await fleet.trading.History(history, metadata=bot)).ticks) == 10
        sale = trading_pb2.SellRequest(account="demo", order_id=held.order_id)
        sold = await fleet.trading.Sell(sale, metadata=bot)
        assert sold.order.state == orders_pb2.ORDER_STATE_SETTLED
        await clear_faults(fleet)
        since_ns = fleet.clock.now_ns()
        first = await trader.confirmed()
        recovery = Recovery(SICKNESS, (first.answered_time_ns - since_ns) / 1e9, 4.0)
        recoveries.append(recovery)
        assert (await fleet.account()).breaker.state == "closed"
        orders = await trader.every_end()
        await assert_ledger_agrees(fleet, orders)
        ends = Counter(_end_of(order) for order in orders if order.order_id != held.order_id)
        recovery.bought, recovery.found, recovery.denied = ends["bought"], ends["found"], ends["denied"]
        assert recovery.found >= 5
        assert recovery.recovered_s <= recovery.bound_s + fleet.clock.fleet_s(WALL_SLACK_S)


def test_the_page_shows_these_faults() -> None:
    page = (Path(__file__).parents[1] / "docs/architecture.md").read_text()
    table = page.partition("<!-- recovery -->\n```text\n")[2].partition("```")[0].splitlines()
    shown = [line[:FAULT_WIDTH].strip() for line in table[1:]]
    assert shown == [*(case.values[0] for case in CASES), SICKNESS]

"""The end of a run: the wait for open orders, the comparison, the verdict."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from derivfleet.cli.clients import OPERATOR, ControlClient
from derivfleet.cli.run.fleet_status import StatusPoller
from derivfleet.cli.run.plan import Credential, Plan, Simulated
from derivfleet.cli.run.ports import Ports
from derivfleet.cli.run.shutdown import Shutdown, problems_of
from derivfleet.cli.run.startup import Startup, child_failed
from derivfleet.cli.run.supervisor import ChildState, ChildView, Failure, Supervisor
from derivfleet.common.clock import NS_PER_S, FleetClock
from derivfleet.common.fleet import load_fleet
from derivfleet.v1 import orders_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from conftest import Fleet

    from derivfleet.cli.run.summary import RunSummary

    Serve = Callable[[web.Application], Awaitable[str]]

BEGAN_NS = time.time_ns() - 60 * NS_PER_S


def order(number: int, profit: str, *, after_s: int) -> orders_pb2.Order:
    """A settled order with a stake of a dollar, intended ``after_s`` after the start of the run."""
    intended_ns = BEGAN_NS + after_s * NS_PER_S
    return orders_pb2.Order(
        order_id=f"over-4:R_100:{number}:0",
        bot="over-4",
        state=orders_pb2.ORDER_STATE_SETTLED,
        contract_id=number,
        buy_price="1.00",
        sell_price=str(1 + float(profit)),
        profit=profit,
        intended_time_ns=intended_ns,
        settled_time_ns=intended_ns + 2 * NS_PER_S,
    )


def ledger_pages(*profits: str, refused: int = 0) -> dict[str, Any]:
    """The simulator's ledger of such orders."""
    movements: list[dict[str, Any]] = []
    contracts: list[dict[str, Any]] = []
    for number, profit in enumerate(profits, 1):
        sold = str(1 + float(profit))
        contracts.append({"contract_id": number, "buy_price": "1.00", "sell_price": sold})
        movements += [{"amount": amount, "contract_id": number} for amount in ("-1.00", sold)]
    balance = f"{10_000 + sum(map(float, profits)):.2f}"
    account = {
        "loginid": "DOT90000001",
        "start_balance": "10000.00",
        "balance": balance,
        "movements": movements,
        "contracts": contracts,
    }
    return {"ledger": {"accounts": [account]}, "calls": {"refused": refused}}


def simulator(pages: dict[str, Any]) -> web.Application:
    async def ledger(_: web.Request) -> web.Response:
        return web.json_response(pages["ledger"])

    async def calls(_: web.Request) -> web.Response:
        return web.json_response(pages["calls"])

    application = web.Application()
    application.router.add_get("/ledger", ledger)
    application.router.add_get("/ledger/calls", calls)
    return application


async def end_of(fleet: Fleet, fleet_file: Path, simulator_at: str | None, wall_speed: float = 20.0) -> RunSummary:
    """End a run whose services are the test's; waits pass ``wall_speed`` times faster."""
    run = fleet.folder.read_file()
    plan = Plan(
        run_dir=fleet.folder,
        ports=Ports(run.metrics, run.web, run.gateway, simulator_at or "127.0.0.1:1"),
        credential=Credential("made-up", "simulatedapp"),
        simulated=None if simulator_at is None else Simulated("1"),
        speed=1.0,
        origin_ns=BEGAN_NS,
    )
    clock = FleetClock(wall_speed, time.time_ns())
    supervisor = Supervisor(clock)
    said: list[str] = []
    described = load_fleet(fleet_file)
    startup = Startup(plan, described, supervisor, clock, said.append)
    async with ControlClient(run.gateway, fleet.folder.token(OPERATOR)) as client:
        poller = StatusPoller(client, startup.bots)
        shutdown = Shutdown(plan, described, supervisor, startup, clock, BEGAN_NS, said.append)
        return await shutdown.run(client, poller)


def at_rest(fleet: Fleet, *orders: orders_pb2.Order, balance: str) -> None:
    """Let the gateway say that nothing is open, with these orders and this balance."""
    account = fleet.control.status.accounts[0]
    account.balance, account.rejected_by_deriv = balance, 0
    for bot in account.bots:
        bot.open = bot.unknown = 0
    fleet.control.orders = list(orders)


async def test_a_run_that_matches_the_ledger_ends_well(fleet: Fleet, fleet_file: Path, serve: Serve) -> None:
    at_rest(fleet, order(1, "0.95", after_s=10), order(2, "-1.00", after_s=20), balance="9999.95")
    summary = await end_of(fleet, fleet_file, await serve(simulator(ledger_pages("0.95", "-1.00"))))
    assert (summary.ledger_match, summary.exit_code, summary.problems) == (True, 0, [])
    assert summary.profit == "-0.05"
    assert summary.seconds_to_first_trade == pytest.approx(12.0)
    assert (summary.bots[0].settled, summary.bots[0].wins, summary.bots[0].latency_ms.p50) == (2, 1, 21.4)
    assert summary.quota.utilisation_by_window == {"trade/60s": 0.25}
    assert summary.quota.rejected_by_deriv == 0


async def test_one_cent_is_enough_to_fail(fleet: Fleet, fleet_file: Path, serve: Serve) -> None:
    at_rest(fleet, order(1, "0.95", after_s=10), balance="10000.95")
    summary = await end_of(fleet, fleet_file, await serve(simulator(ledger_pages("0.96"))))
    assert (summary.ledger_match, summary.exit_code) == (False, 1)
    assert "sell price 1.95 is 1.96 in the ledger" in summary.ledger_reason
    assert summary.problems[0].startswith("the ledger does not match")


async def test_orders_of_an_earlier_run_are_not_this_runs(fleet: Fleet, fleet_file: Path, serve: Serve) -> None:
    at_rest(fleet, order(7, "0.10", after_s=-500), order(1, "0.95", after_s=10), balance="10000.95")
    summary = await end_of(fleet, fleet_file, await serve(simulator(ledger_pages("0.95", refused=4))))
    assert (summary.ledger_match, summary.bots[0].buys) == (True, 1)
    assert summary.quota.rejected_by_deriv == 4, "the simulator's own count counts"


async def test_a_ledger_that_cannot_be_read_does_not_match(fleet: Fleet, fleet_file: Path) -> None:
    at_rest(fleet, order(1, "0.95", after_s=10), balance="10000.95")
    summary = await end_of(fleet, fleet_file, "127.0.0.1:1")
    assert (summary.ledger_match, summary.exit_code) == (False, 1)
    assert summary.ledger_reason == "it could not be read"


async def test_a_real_account_has_no_ledger_and_ends_well(fleet: Fleet, fleet_file: Path) -> None:
    at_rest(fleet, order(1, "0.95", after_s=10), balance="10000.95")
    summary = await end_of(fleet, fleet_file, None)
    assert (summary.ledger_match, summary.exit_code) == (None, 0)
    assert "no ledger" in summary.ledger_reason


async def test_open_orders_are_waited_for_but_not_for_ever(fleet: Fleet, fleet_file: Path, serve: Serve) -> None:
    at_rest(fleet, balance="10000.00")
    fleet.control.status.accounts[0].bots[0].open = 1
    before_s = time.monotonic()
    summary = await end_of(fleet, fleet_file, await serve(simulator(ledger_pages())))
    assert 0.5 <= time.monotonic() - before_s < 30.0
    assert summary.ledger_match is True


async def test_services_that_are_gone_are_problems_and_no_figures_are_invented(
    fleet: Fleet, fleet_file: Path, serve: Serve
) -> None:
    fleet.write()
    summary = await end_of(fleet, fleet_file, await serve(simulator(ledger_pages("0.95"))))
    assert (summary.ledger_match, summary.exit_code, summary.seconds_to_first_trade) == (False, 1, None)
    assert any(problem.startswith("figures are missing") for problem in summary.problems)
    assert any(problem.startswith("latencies are missing") for problem in summary.problems)


@pytest.mark.parametrize(
    ("exit_code", "killed", "problem"),
    [
        (0, False, None),
        (None, False, None),
        (-15, False, None),
        (1, False, "gateway ended with exit code 1"),
        (-9, True, "gateway did not end within ten seconds and was killed"),
    ],
)
def test_an_end_that_was_not_orderly_is_a_problem(exit_code: int | None, problem: str | None, *, killed: bool) -> None:
    child = ChildView("gateway", ChildState.ENDED, 1, 0, exit_code, killed)
    assert problems_of([child]) == ([] if problem is None else [problem])


def test_a_childs_last_words_are_passed_on_under_its_name() -> None:
    error = child_failed(Failure("gateway", "gateway: DERIV_TOKEN: a real-money account is refused"))
    assert str(error) == "gateway: DERIV_TOKEN: a real-money account is refused"
    error = child_failed(Failure("over-4", "bot: over-4: DERIVFLEET_BOT_TOKEN_FILE: refused"))
    assert str(error) == "over-4: DERIVFLEET_BOT_TOKEN_FILE: refused"

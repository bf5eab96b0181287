"""status, orders and report against real services, and what they say when there is none."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from derivfleet.cli.screens.orders import order_columns, orders_table
from derivfleet.cli.verbs.orders import state_of
from derivfleet.common.order_state import OrderState
from derivfleet.v1 import control_pb2, orders_pb2

if TYPE_CHECKING:
    from conftest import Fleet


def order(number: int, bot: str = "over-4", profit: str = "0.22") -> orders_pb2.Order:
    return orders_pb2.Order(
        account="demo",
        order_id=f"{bot}:R_100:{number}:0",
        bot=bot,
        terms=orders_pb2.ContractTerms(
            contract_type="DIGITOVER", symbol="R_100", stake="0.35", duration=1, duration_unit="t", barrier="4"
        ),
        state=orders_pb2.ORDER_STATE_SETTLED,
        contract_id=300 + number,
        profit=profit,
        intended_time_ns=(1_795_161_600 + number) * 10**9,
    )


async def test_status_shows_the_account_its_sockets_quota_and_bots(fleet: Fleet) -> None:
    result = await fleet.run("status")
    assert result.exit_code == 0
    for words in (
        "DOT90000001",
        "10001.23 USD",
        "no route to host",
        "trade",
        "60s",
        "90/360",
        "over-4",
        "-0.26",
        "never",
    ):
        assert words in result.stdout


async def test_status_says_first_that_the_journal_is_out_of_order(fleet: Fleet) -> None:
    problem = "the order journal cannot be written: database or disk is full"
    fleet.control.status.journal.CopyFrom(control_pb2.JournalStatus(problem=problem, unwritten=3))
    said = " ".join((await fleet.run("status")).stdout.split())
    assert said.startswith(f"no orders are opened: {problem}; 3 transitions wait for it")


async def test_status_for_programs_is_json(fleet: Fleet) -> None:
    told = json.loads((await fleet.run("status", "--json")).stdout)
    assert told["accounts"][0]["bots"][1]["errors"] == "2"


async def test_orders_are_listed_newest_first_and_filtered(fleet: Fleet) -> None:
    fleet.control.orders = [order(1), order(2, "trend-75"), order(3)]
    told = json.loads((await fleet.run("orders", "--bot", "over-4", "--json")).stdout)
    assert [one["order_id"] for one in told] == ["over-4:R_100:3:0", "over-4:R_100:1:0"]
    result = await fleet.run("orders", "--limit", "1")
    assert "over-4:R_100:3:0" in result.stdout
    assert "trend-75" not in result.stdout
    assert "no orders like that" in (await fleet.run("orders", "--state", "unknown")).stdout


def doubtful_order() -> orders_pb2.Order:
    one = order(4, profit="")
    one.state, one.error_code, one.doubt = orders_pb2.ORDER_STATE_UNKNOWN, "Timeout", "more_candidates"
    one.sent_time_ns = one.intended_time_ns
    for contract_id in (301234567888, 301234567908):
        one.candidates.add(contract_id=contract_id, purchase_epoch_s=1_795_161_605, buy_price="0.35", payout="0.68")
    return one


async def test_orders_in_doubt_are_listed_with_what_they_may_be(fleet: Fleet) -> None:
    looked_for = order(2, "trend-75", profit="")
    looked_for.state = orders_pb2.ORDER_STATE_UNKNOWN
    not_found = doubtful_order()
    not_found.order_id, not_found.state = "late", orders_pb2.ORDER_STATE_NOT_FOUND
    fleet.control.orders = [order(1), looked_for, not_found, doubtful_order()]
    result = await fleet.run("orders", "--unknown")
    assert result.exit_code == 0
    words = ("over-4:R_100:4:0", "trend-75:R_100:2:0", "late", "301234567888 (08:00:05, pays 0.68)", "301234567908")
    for word in (
        *words,
        "unknown Timeout: more purchases than lost orders",
        "being looked for",
        "orders resolve ORDER",
    ):
        assert word in result.stdout
    assert "over-4:R_100:1:0" not in result.stdout
    told = json.loads((await fleet.run("orders", "--unknown", "--json", "--bot", "over-4")).stdout)
    assert [one["order_id"] for one in told] == ["over-4:R_100:4:0", "late"]
    fleet.control.orders = []
    assert "no orders like that" in (await fleet.run("orders", "--unknown")).stdout


async def test_an_operator_resolves_an_order_and_is_asked_first(fleet: Fleet) -> None:
    fleet.control.orders = [doubtful_order()]
    name = "over-4:R_100:4:0"
    for typed in ("n\n", ""):
        result = await fleet.run("orders", "resolve", name, "--not-bought", typed=typed)
        assert (result.exit_code, fleet.control.resolved) == (1, [])
        assert "bought nothing: is that so?" in result.stdout
        assert "nothing was changed" in result.stderr
    result = await fleet.run("orders", "resolve", name, "--contract", "301234567888", typed="y\n")
    assert result.exit_code == 0
    assert f"{name} is confirmed, resolved by operator" in result.stdout
    result = await fleet.run("orders", "resolve", name, "--not-bought", "--yes")
    assert f"{name} is not_found, resolved by operator" in result.stdout
    assert [(one.account, one.contract_id) for one in fleet.control.resolved] == [("demo", 301234567888), ("demo", 0)]
    result = await fleet.run("orders", "resolve", "nobody", "--not-bought", "--yes")
    assert (result.exit_code, result.stderr) == (
        1,
        "derivfleet: account demo has no order nobody; `derivfleet orders` lists what there is\n",
    )


@pytest.mark.parametrize("words", [(), ("--contract", "7", "--not-bought")])
async def test_a_resolution_says_one_thing(fleet: Fleet, words: tuple[str, ...]) -> None:
    result = await fleet.run("orders", "resolve", "o1", *words)
    assert result.exit_code == 2
    assert "--contract: name the contract that it bought, or say --not-bought" in result.stderr


async def test_an_unknown_bot_is_named(fleet: Fleet) -> None:
    bots = [f"{{name: {name}, strategy: moving_average, symbols: [R_75]}}" for name in ("over-4", "trend-75")]
    fleet.folder.fleet_file.write_text(f"bots: [{', '.join(bots)}]")
    assert "no orders like that" in (await fleet.run("orders", "--bot", "trend-75")).stdout
    result = await fleet.run("orders", "--bot", "over-5")
    assert (result.exit_code, result.stderr) == (
        2,
        "derivfleet: --bot: unknown bot 'over-5'; known are over-4, trend-75\n",
    )


async def test_more_orders_than_a_page_are_all_listed(fleet: Fleet) -> None:
    fleet.control.orders = [order(number) for number in range(2500)]
    told = json.loads((await fleet.run("orders", "--limit", "5000", "--json")).stdout)
    assert [one["contract_id"] for one in told] == [str(300 + number) for number in reversed(range(2500))]
    assert fleet.control.pages == 3


async def test_orders_fit_a_narrow_terminal_and_lose_nothing_of_their_ids() -> None:
    console = Console(width=80, file=io.StringIO(), record=True, force_terminal=True)
    console.print(orders_table([order(1, "a-bot-with-a-name")], order_columns(console)))
    head, _, line = console.export_text().splitlines()
    assert head.split() == ["time", "┃", "contract", "┃", "state", "┃", "profit", "┃", "order", "id"]
    assert line.endswith("a-bot-with-a-name:R_100:1:0")


async def test_a_report_is_printed_and_asked_for_as_told(fleet: Fleet) -> None:
    result = await fleet.run("report", "--at", "2026-11-21T09:35", "--period", "1h")
    assert result.exit_code == 0
    for words in ("over-4", "21/80/96", "LIMIT_REACHED 3", "trade 90 calls (5.0%)", "filled to 08:01:40", "connected"):
        assert words in result.stdout
    (asked,) = fleet.reports.asked
    assert (asked.at_epoch_s, asked.period_s) == (1_795_253_700, 3600)
    told = json.loads((await fleet.run("report", "--json")).stdout)
    assert told["fleet"]["win_rate"] == 0.5
    assert fleet.reports.asked[1].at_epoch_s == 0


@pytest.mark.parametrize("command", ["status", "quota", "orders", "report", "trace"])
async def test_services_that_are_gone_are_one_friendly_line(fleet: Fleet, command: str) -> None:
    fleet.write()
    result = await fleet.run(command)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "does not answer at 127.0.0.1:1" in result.stderr


@pytest.mark.parametrize("command", ["status", "quota", "orders", "report", "trace"])
async def test_a_folder_without_a_fleet_is_one_friendly_line(fleet: Fleet, command: str) -> None:
    fleet.folder.run_file.unlink()
    result = await fleet.run(command)
    assert result.exit_code == 1
    assert "derivfleet up" in result.stderr
    assert len(result.stderr.splitlines()) == 1


async def test_a_token_of_another_run_is_refused_in_one_line(fleet: Fleet) -> None:
    fleet.folder.token("operator").write_text("operator.of-another-run")
    result = await fleet.run("status")
    assert result.exit_code == 1
    assert "TOKEN_UNKNOWN" in result.stderr
    assert "of-another-run" not in result.stderr
    fleet.folder.token("operator").unlink()
    assert (await fleet.run("status")).exit_code == 2


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("orders", "--state", "done"), "--state"),
        (("report", "--at", "yesterday"), "--at"),
        (("report", "--at", "2999-01-01"), "--at"),
        (("report", "--period", "5y"), "--period"),
        (("report", "--period", "2d"), "--period"),
        (("orders", "--limit", "0"), "--limit"),
        (("orders", "--limit", "many"), "--limit"),
        (("orders", "--nothing"), "--nothing"),
        (("quota", "--watch", "0"), "--watch"),
        (("quota", "--watch", "2", "--once"), "--watch"),
        (("quota", "--bot", "over-5"), "known are over-4, trend-75"),
        (("reprot",), "'report'"),
    ],
)
async def test_a_wrong_option_is_named(fleet: Fleet, words: tuple[str, ...], names: str) -> None:
    result = await fleet.run(*words)
    assert result.exit_code == 2
    assert names in result.stderr
    assert len(result.stderr.splitlines()) == 1


async def test_the_unforeseen_is_one_line_too(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    def fall(_: object) -> None:
        raise RuntimeError("the sky\nfell")

    monkeypatch.setattr("derivfleet.cli.screens.status.status_screen", fall)
    result = await fleet.run("status")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "RuntimeError: the sky fell" in result.stderr
    monkeypatch.setenv("DERIVFLEET_TRACEBACK", "1")
    assert isinstance((await fleet.run("status")).exception, RuntimeError)


def test_states_are_known_by_their_names() -> None:
    assert state_of("") == orders_pb2.ORDER_STATE_UNSPECIFIED
    assert state_of("Not-Found") == orders_pb2.ORDER_STATE_NOT_FOUND
    assert set(OrderState) == {"intended", "denied", "sent", "confirmed", "rejected", "unknown", "not_found", "settled"}

"""The figures of a run, from orders, status and report."""

from __future__ import annotations

import io
import json
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from derivfleet.cli.run.summary import (
    BotSummary,
    Latency,
    MemorySummary,
    QuotaSummary,
    RunSummary,
    bots_of,
    first_settled_ns,
)
from derivfleet.cli.screens.run_summary import summary_lines, summary_table
from derivfleet.v1 import control_pb2, orders_pb2, reports_pb2

SETTLED, CONFIRMED, DENIED, UNKNOWN, REJECTED, NOT_FOUND = (
    orders_pb2.ORDER_STATE_SETTLED,
    orders_pb2.ORDER_STATE_CONFIRMED,
    orders_pb2.ORDER_STATE_DENIED,
    orders_pb2.ORDER_STATE_UNKNOWN,
    orders_pb2.ORDER_STATE_REJECTED,
    orders_pb2.ORDER_STATE_NOT_FOUND,
)
REPORT = reports_pb2.Report(
    bots=[
        reports_pb2.BotReport(
            bot="over-4",
            phases=[
                reports_pb2.PhaseLatency(phase="decide", count=3, p50_ms=1, p99_ms=1),
                reports_pb2.PhaseLatency(phase="buy", count=3, p50_ms=20.04, p99_ms=95.56),
            ],
        ),
        reports_pb2.BotReport(bot="quiet", phases=[reports_pb2.PhaseLatency(phase="buy")]),
    ]
)


def order(state: orders_pb2.OrderState.ValueType, profit: str = "", bot: str = "over-4") -> orders_pb2.Order:
    contract = 7 if state in (SETTLED, CONFIRMED) else 0
    code = "LIMIT_REACHED" if state == DENIED else ""
    return orders_pb2.Order(bot=bot, state=state, profit=profit, contract_id=contract, error_code=code)


def test_a_bots_figures_come_from_its_own_orders() -> None:
    orders = [
        order(SETTLED, "0.22"),
        order(SETTLED, "-0.35"),
        order(CONFIRMED),
        order(DENIED),
        order(DENIED),
        order(REJECTED),
        order(NOT_FOUND),
        order(NOT_FOUND),
        order(UNKNOWN),
        order(SETTLED, "9.00", bot="other"),
    ]
    status = [control_pb2.BotStatus(bot="over-4", ops=17)]
    one, quiet = bots_of(["over-4", "quiet"], orders, status, REPORT, {"over-4": 2})
    assert (one.ops, one.buys, one.settled, one.wins, one.profit) == (17, 3, 2, 1, "-0.13")
    assert (one.errors, one.denied, one.open, one.restarts) == (3, 2, 2, 2)
    assert one.denied_by_code == {"LIMIT_REACHED": 2}
    assert one.latency_ms == Latency(p50=20.0, p99=95.6)
    assert (quiet.ops, quiet.buys, quiet.profit, quiet.latency_ms) == (0, 0, "0.00", Latency())


def test_purchases_refused_on_arrival_are_counted_though_they_are_no_orders() -> None:
    limit = reports_pb2.ErrorCount(code="LIMIT_REACHED", count=40)
    other = reports_pb2.ErrorCount(code="TURN_REFUSED", count=5)
    report = reports_pb2.Report(bots=[reports_pb2.BotReport(bot="over-4", errors=[limit, other])])
    (one,) = bots_of(["over-4"], [order(DENIED), order(CONFIRMED)], [], report, {})
    assert (one.denied, one.denied_by_code, one.open) == (40, {"LIMIT_REACHED": 40}, 1)


def test_calls_from_before_a_restart_of_the_gateway_count() -> None:
    report = reports_pb2.Report(bots=[reports_pb2.BotReport(bot="a", ops=9), reports_pb2.BotReport(bot="b", ops=2)])
    status = [control_pb2.BotStatus(bot="a", ops=3), control_pb2.BotStatus(bot="b", ops=5)]
    assert [one.ops for one in bots_of(["a", "b", "c"], [], status, report, {})] == [9, 5, 0]


def test_without_a_report_there_is_no_latency() -> None:
    (one,) = bots_of(["over-4"], [], [], None, {})
    assert one.latency_ms == Latency(p50=None, p99=None)


@given(st.lists(st.integers(-500_00, 500_00), max_size=30))
def test_profit_is_the_sum_to_the_cent(cents: list[int]) -> None:
    orders = [order(SETTLED, f"{Decimal(value) / 100:.2f}") for value in cents]
    (one,) = bots_of(["over-4"], orders, [], None, {})
    assert Decimal(one.profit) * 100 == sum(cents)
    assert one.wins == sum(value > 0 for value in cents)


def test_the_first_settlement_is_the_earliest() -> None:
    times = [5, 3, 0, 9]
    assert first_settled_ns([orders_pb2.Order(settled_time_ns=time) for time in times]) == 3
    assert first_settled_ns([]) is None


def summary(*more: orders_pb2.Order) -> RunSummary:
    bots = bots_of(["over-4", "quiet"], [order(SETTLED, "0.22"), *more], [], REPORT, {})
    return RunSummary(
        fleet="demo",
        account="demo",
        dialect="options",
        simulated=True,
        speed=1.0,
        started="2026-11-21T09:35:00.000+00:00",
        duration_s=60.5,
        seconds_to_first_trade=9.1,
        bots=bots,
        quota=QuotaSummary(utilisation=0.4, utilisation_by_window={"trade/60s": 0.4}, rejected_by_deriv=0),
        ledger_match=True,
        profit="0.22",
        exit_code=0,
    )


def test_the_file_has_what_programs_read() -> None:
    told = json.loads(summary().model_dump_json())
    assert told["ledger_match"] is True
    assert told["quota"]["rejected_by_deriv"] == 0
    assert set(told["bots"][0]) >= {"bot", "ops", "buys", "settled", "wins", "profit", "errors", "latency_ms"}
    assert told["bots"][0]["latency_ms"] == {"p50": 20.0, "p99": 95.6}
    assert RunSummary.model_validate(told) == summary()
    assert isinstance(summary().bots[0], BotSummary)


def test_the_table_shows_every_bot_and_the_sum() -> None:
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(summary_table(summary()))
    text = console.export_text()
    for words in ("over-4", "quiet", "fleet", "0.22", "96"):
        assert words in text


def shown(told: RunSummary, width: int = 80) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(summary_table(told))
    return console.export_text() + "\n".join(summary_lines(told))


def test_what_did_not_happen_takes_no_room() -> None:
    text = shown(summary())
    for words in ("denied", "not settled", "restarts"):
        assert words not in text
    assert "at most 40% of a limit (trade/60s), 0 calls refused by Deriv" in text


def test_a_denial_is_no_error_and_the_summary_says_what_it_is() -> None:
    text = shown(summary(order(DENIED), order(DENIED), order(CONFIRMED)))
    assert "denied by the gateway itself, before Deriv saw the order: 2 LIMIT_REACHED; no money moved" in text
    assert "orders not settled when the run ended: 1" in text
    (row,) = [line for line in text.splitlines() if line.startswith("over-4")]
    assert [cell.strip() for cell in row.split("│")][1:7] == ["0", "2", "1", "1", "+0.22", "0"]


def test_a_difference_to_the_ledger_is_told_with_its_reason() -> None:
    wrong = summary().model_copy(update={"ledger_match": False, "ledger_reason": "contract 7 is in the ledger twice"})
    assert "ledger: DOES NOT MATCH: contract 7 is in the ledger twice" in shown(wrong)


def test_restarts_of_any_process_are_told() -> None:
    assert "restarts: gateway 2" in shown(summary().model_copy(update={"restarts": {"gateway": 2}}))


def test_memory_is_told_if_it_was_measured() -> None:
    assert "memory" not in shown(summary())
    sizes = {"derivfleet up": 40.0, "gateway": 90.0, "over-4.1": 27.2, "over-4.2": 28.6}
    memory = MemorySummary(total_mb=185.8, by_process_mb=sizes)
    text = shown(summary().model_copy(update={"memory": memory}))
    assert "memory of all processes: at most 186 MB, the largest bot 29 MB" in text


def test_a_long_name_is_never_cut() -> None:
    told = summary()
    long = told.bots[0].model_copy(update={"bot": "a-very-long-name-of-a-bot-1"})
    text = shown(told.model_copy(update={"bots": [long]}))
    assert "…" not in text
    assert "a-very-long-name-of-a-bot-1" in "".join(line.split("│")[0].strip() for line in text.splitlines())

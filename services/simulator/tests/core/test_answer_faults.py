"""What faults do to answers, to news and to a socket's login; and what is refused without any fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from derivfleet.deriv.dialects import to_json
from derivfleet.deriv.vocabulary import Call
from derivfleet.simulator.core.faults import FaultKind, FaultRule

if TYPE_CHECKING:
    from conftest import Harness, MakeHarness

BUY: dict[str, Any] = {
    "buy": "1",
    "price": 1,
    "parameters": {
        "contract_type": "DIGITOVER",
        "currency": "USD",
        "amount": 1,
        "basis": "stake",
        "duration": 1,
        "duration_unit": "t",
        "barrier": "4",
        "underlying_symbol": "1HZ100V",
    },
}
STATEMENT: dict[str, Any] = {"statement": 1, "description": 1, "action_type": "buy"}


def bought(harness: Harness) -> int:
    return len(harness.exchange.options_account.contracts)


@pytest.mark.parametrize("abrupt", [True, False])
def test_a_socket_dies_after_the_answer(harness: Harness, abrupt: bool) -> None:
    number = harness.connect()
    harness.exchange.faults.add(FaultRule(FaultKind.DROP_ANSWERED, Call.BUY, count=1, abrupt=abrupt))
    (answer,) = harness.ask(number, **BUY)
    assert answer["buy"]["contract_id"] in harness.exchange.options_account.contracts
    assert (harness.closed[number].abrupt, harness.closed[number].drained) == (abrupt, True)


def test_an_answer_comes_twice_but_the_call_ran_once(harness: Harness) -> None:
    number = harness.connect()
    harness.exchange.faults.add(FaultRule(FaultKind.DUPLICATE, Call.BUY))
    first, second = harness.ask(number, **BUY)
    assert first == second
    assert bought(harness) == 1


def test_an_answer_lets_the_next_one_go_first(harness: Harness) -> None:
    number = harness.connect()
    harness.exchange.faults.add(FaultRule(FaultKind.REORDER, Call.BUY, count=1))
    assert harness.ask(number, **BUY, req_id=501) == []
    assert bought(harness) == 1
    frames = harness.raw(number, to_json({"ping": 1, "req_id": 502}))
    assert [frame["req_id"] for frame in frames] == [502, 501]


def test_an_answer_that_waits_for_another_in_vain_comes_a_second_later(harness: Harness) -> None:
    number = harness.connect()
    harness.exchange.faults.add(FaultRule(FaultKind.REORDER, Call.BUY, count=1))
    assert harness.ask(number, **BUY) == []
    harness.wait(1)
    (answer,) = harness.inbox(number)
    assert answer["msg_type"] == "buy"


def test_a_revoked_login_refuses_the_account_on_that_socket_only(harness: Harness) -> None:
    number, other = harness.connect(), harness.connect()
    harness.one(number, transaction=1, subscribe=1)
    harness.exchange.faults.add(FaultRule(FaultKind.REVOKE, Call.BUY, count=1))
    assert harness.refused(number, **BUY) == "InvalidToken"
    assert bought(harness) == 0
    assert harness.refused(number, balance=1) == "InvalidToken"
    harness.one(number, ping=1)
    harness.one(other, **BUY)
    assert harness.inbox(number) == [], "its streams of the account have ended"


def test_a_stuck_contract_is_settled_late_at_its_own_outcome(make_harness: MakeHarness) -> None:
    ends: list[tuple[int, object]] = []
    for delay_s in (0, 20):
        harness = make_harness()
        number = harness.connect()
        harness.exchange.faults.add(FaultRule(FaultKind.STUCK, Call.BUY, delay_s=delay_s))
        contract_id = harness.one(number, **BUY)["buy"]["contract_id"]
        harness.wait(15)
        state = harness.one(number, proposal_open_contract=1, contract_id=contract_id)["proposal_open_contract"]
        assert (state["is_expired"], state["is_sold"]) == (1, 1 if delay_s == 0 else 0)
        harness.wait(15)
        state = harness.one(number, proposal_open_contract=1, contract_id=contract_id)["proposal_open_contract"]
        ends.append((state["sell_time"], state["sell_price"]))
    assert ends[1][0] - ends[0][0] == 20
    assert ends[1][1] == ends[0][1]


def test_one_statement_lags_and_the_next_does_not(harness: Harness) -> None:
    number = harness.connect()
    harness.exchange.faults.add(FaultRule(FaultKind.LAG, Call.STATEMENT, count=1, delay_s=30))
    harness.one(number, **BUY)
    harness.wait(29)
    assert harness.one(number, **STATEMENT)["statement"]["count"] == 0
    assert harness.one(number, **STATEMENT)["statement"]["count"] == 1


def test_a_tick_is_left_out_for_all(harness: Harness) -> None:
    sockets = [harness.connect(), harness.connect()]
    for number in sockets:
        harness.one(number, ticks="1HZ100V", subscribe=1)
    harness.exchange.faults.add(FaultRule(FaultKind.TICK_GAP, count=1, skip=1))
    harness.wait(3)
    start_s = harness.now_s - 3
    for number in sockets:
        assert [frame["tick"]["epoch"] - start_s for frame in harness.inbox(number)] == [1, 3]


def test_a_tick_repeats_the_quote_of_the_one_before(harness: Harness) -> None:
    number = harness.connect()
    first = harness.one(number, ticks="1HZ100V", subscribe=1)["tick"]
    harness.exchange.faults.add(FaultRule(FaultKind.REPEAT_QUOTE, count=1))
    harness.wait(2)
    repeated, usual = (frame["tick"] for frame in harness.inbox(number))
    assert (repeated["quote"], repeated["epoch"]) == (first["quote"], first["epoch"] + 1)
    market = harness.exchange.market
    assert usual["quote"] == market.quote("1HZ100V", harness.now_s) != market.quote("1HZ100V", harness.now_s - 2)


def test_faults_of_ticks_leave_calls_alone(harness: Harness) -> None:
    number = harness.connect()
    harness.exchange.faults.add(FaultRule(FaultKind.TICK_GAP))
    harness.one(number, ping=1)
    harness.one(number, **BUY)


def test_a_rule_applies_from_its_time_on_and_for_so_long(harness: Harness) -> None:
    number = harness.connect()
    harness.exchange.faults.add(FaultRule(FaultKind.ERROR_BEFORE, Call.TIME, after_s=10, lasts_s=5))
    seen: list[bool] = []
    for _ in range(20):
        (answer,) = harness.ask(number, time=1)
        seen.append("error" in answer)
        harness.wait(1)
    assert seen == [10 <= second < 15 for second in range(20)]


@pytest.mark.parametrize("skew_s", [-2.5, 3.0])
def test_a_skewed_clock_is_in_all_that_the_service_tells(make_harness: MakeHarness, skew_s: float) -> None:
    harness = make_harness(clock_skew_s=skew_s)
    number = harness.connect()
    harness.wait(10)
    own_s = int(harness.now_s + skew_s // 1)
    assert harness.one(number, time=1)["time"] == own_s
    assert harness.one(number, **BUY)["buy"]["purchase_time"] == own_s


@pytest.mark.parametrize("text", ["x" * 301, "a\x00b"])
def test_strings_that_are_long_or_odd_are_refused(harness: Harness, text: str) -> None:
    number = harness.connect()
    assert harness.refused(number, ticks=text) == "SanityCheckFailed"
    assert harness.refused(number, ticks=["R_10", text]) == "SanityCheckFailed"
    assert harness.refused(number, ticks="x" * 300) == "InputValidationFailed"


def test_an_answer_beyond_the_cap_is_refused(make_harness: MakeHarness) -> None:
    harness = make_harness(frame_cap_bytes=2_000)
    number = harness.connect()
    assert harness.refused(number, ticks_history="1HZ100V", end="latest", count=500) == "ResponseTooLarge"
    harness.one(number, ticks_history="1HZ100V", end="latest", count=5)

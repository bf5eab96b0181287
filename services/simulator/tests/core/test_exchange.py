"""What holds for every request: framing, limits, logins, faults, idle sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.deriv.dialects import to_json
from derivfleet.deriv.vocabulary import Call, Dialect
from derivfleet.simulator.core.faults import FaultKind, FaultRule

if TYPE_CHECKING:
    from conftest import Harness, MakeHarness

    from derivfleet.deriv.dialects import Frame

BOTH = pytest.mark.parametrize("dialect", Dialect)
BUY: dict[str, Any] = {
    "buy": "1",
    "price": 1,
    "parameters": {
        "contract_type": "DIGITODD",
        "currency": "USD",
        "amount": 1,
        "basis": "stake",
        "duration": 1,
        "duration_unit": "t",
        "underlying_symbol": "1HZ100V",
    },
}


@BOTH
def test_every_answer_echoes_its_request(harness: Harness, dialect: Dialect) -> None:
    number = harness.connect(dialect, login=False)
    answer = harness.one(number, ping=1, req_id=77, passthrough={"mine": 1.5})
    assert answer["ping"] == "pong"
    assert answer["echo_req"] == {"ping": 1, "req_id": 77, "passthrough": {"mine": 1.5}}
    (bare,) = harness.raw(number, '{"time": 1}')
    assert bare["time"] == harness.now_s
    assert "req_id" not in bare


@BOTH
@pytest.mark.parametrize(
    ("text", "code", "msg_type"),
    [
        ("{}", "UnrecognisedRequest", "error"),
        ('{"hello": 1}', "UnrecognisedRequest", "error"),
        ('{"ping": 1, "extra": 1}', "InputValidationFailed", "ping"),
        ('{"ping": 1, "req_id": "x"}', "InputValidationFailed", "ping"),
        ('{"ticks": "R_7"}', "InvalidSymbol", "ticks"),
        ('{"balance": 1}', "AuthorizationRequired", "balance"),
        ('{"transaction": 1, "subscribe": 1}', "AuthorizationRequired", "transaction"),
    ],
)
def test_refusals_are_frames(harness: Harness, dialect: Dialect, text: str, code: str, msg_type: str) -> None:
    number = harness.connect(dialect, login=False)
    (answer,) = harness.raw(number, text)
    assert answer["error"]["code"] == code
    assert answer["msg_type"] == msg_type
    assert number not in harness.closed


def test_details_name_the_field(harness: Harness) -> None:
    (answer,) = harness.raw(
        harness.connect(), '{"proposal": 1, "contract_type": "CALL", "currency": "USD", "symbol": "R_10"}'
    )
    assert answer["error"]["message"] == "Input validation failed: underlying_symbol, symbol"
    assert answer["error"]["details"]["symbol"] == "Properties not allowed: symbol."


@pytest.mark.parametrize("text", ["", "}{", "[]", "null", '{"a": NaN}', "\x00"])
def test_malformed_json_closes_the_socket(harness: Harness, text: str) -> None:
    number = harness.connect()
    assert harness.raw(number, text) == []
    assert number in harness.closed
    assert harness.raw(number, '{"ping": 1}') == []


@given(
    frame=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
    call=st.sampled_from([str(call) for call in Call]),
    field=st.sampled_from(
        ["parameters", "price", "contract_id", "subscribe", "end", "amount", "limit", "x", "loginid"]
    ),
    dialect=st.sampled_from(Dialect),
)
def test_no_frame_breaks_the_exchange(
    make_harness: MakeHarness, frame: object, call: str, field: str, dialect: Dialect
) -> None:
    harness = make_harness()
    number = harness.connect(dialect)
    for content in ({call: 1, field: frame}, {call: frame}, {call: frame, field: frame}):
        for answer in harness.raw(number, to_json(content)):
            assert answer["echo_req"].keys() == content.keys()
        if number in harness.closed:
            assert call == "authorize" or harness.closed[number].reason == "malformed JSON"
            return


@BOTH
def test_a_socket_that_nobody_logged_in_has_the_markets(harness: Harness, dialect: Dialect) -> None:
    number = harness.connect(dialect, login=False)
    harness.one(number, time=1)
    harness.one(number, ticks="R_10", subscribe=1)
    symbol = "symbol" if dialect is Dialect.LEGACY else "underlying_symbol"
    fields = {**BUY["parameters"], symbol: "R_100"}
    if dialect is Dialect.LEGACY:
        del fields["underlying_symbol"]
    harness.one(number, proposal=1, **fields)
    assert harness.refused(number, buy="1", price=1, parameters=fields) == "AuthorizationRequired"
    assert harness.refused(number, portfolio=1) == "AuthorizationRequired"


def test_legacy_tells_its_limits(harness: Harness) -> None:
    number = harness.connect(Dialect.LEGACY, login=False)
    limits = harness.one(number, website_status=1, subscribe=1)["website_status"]["api_call_limits"]
    assert limits["max_requests_outcome"]["minutely"] == 30
    assert limits["max_proposal_subscription"]["max"] == 5
    assert harness.refused(number, website_status=1, subscribe=1) == "AlreadySubscribed"


def test_the_sockets_of_an_account_share_its_limits(harness: Harness) -> None:
    one, other = harness.connect(), harness.connect()
    for number in (one, other):
        for _ in range(15):
            harness.one(number, portfolio=1)
    (answer,) = harness.ask(one, portfolio=1)
    assert answer["error"] == {"code": "RateLimit", "message": "You have reached the rate limit for portfolio."}
    assert answer["msg_type"] == "portfolio"
    assert harness.refused(other, profit_table=1) == "RateLimit"
    harness.one(other, statement=1)
    legacy = harness.connect(Dialect.LEGACY)
    harness.one(legacy, portfolio=1)
    harness.wait(60)
    harness.one(one, portfolio=1)
    counts = harness.exchange.counts
    assert (counts.accepted["portfolio"], counts.refused["portfolio"]) == (32, 1)


def test_a_refused_purchase_buys_nothing(make_harness: MakeHarness) -> None:
    harness = make_harness(limits={"options": {"trade": {60: 1}}})
    number = harness.connect()
    harness.one(number, **BUY)
    assert harness.refused(number, **BUY) == "RateLimit"
    assert harness.one(number, balance=1)["balance"]["balance"] == 9999


def test_malformed_calls_cost_quota_too(make_harness: MakeHarness) -> None:
    harness = make_harness(limits={"options": {"lists": {60: 1}}})
    number = harness.connect()
    assert harness.refused(number, portfolio=2) == "InputValidationFailed"
    assert harness.refused(number, portfolio=1) == "RateLimit"


@pytest.mark.parametrize(("counted", "code"), [(True, "RateLimit"), (False, None)])
def test_whether_refused_calls_count_is_a_setting(make_harness: MakeHarness, counted: bool, code: str | None) -> None:
    harness = make_harness(limits={"options": {"lists": {60: 1}}}, window_kind="sliding", count_refused=counted)
    number = harness.connect()
    harness.one(number, portfolio=1)
    harness.wait(59)
    assert harness.refused(number, portfolio=1) == "RateLimit"
    harness.wait(1)
    (answer,) = harness.ask(number, portfolio=1)
    assert answer.get("error", {}).get("code") == code


def test_ten_pings_a_second_are_free_and_more_are_refused(harness: Harness) -> None:
    number, other = harness.connect(), harness.connect()
    for _ in range(10):
        harness.one(number, ping=1)
    assert harness.refused(number, ping=1) == "RateLimit"
    harness.one(other, ping=1)
    harness.wait(2)
    harness.one(number, ping=1)


def test_streams_cost_nothing(make_harness: MakeHarness) -> None:
    harness = make_harness(limits={"options": {"other": {60: 1}}})
    number = harness.connect()
    harness.one(number, ticks="1HZ10V", subscribe=1)
    harness.wait(50)
    assert len(harness.inbox(number)) == 50


def test_rest_calls_are_counted_by_user_and_by_address(harness: Harness) -> None:
    exchange = harness.exchange
    assert sum(exchange.admit_rest("me", "10.0.0.1", harness.now_ns) for _ in range(100)) == 80
    assert sum(exchange.admit_rest(f"u{n}", "10.0.0.1", harness.now_ns) for n in range(300)) == 200


def test_an_idle_socket_is_closed_and_a_busy_one_is_not(harness: Harness) -> None:
    idle, pinging, streaming = (harness.connect() for _ in range(3))
    harness.one(streaming, ticks="R_10", subscribe=1)
    for _ in range(5):
        harness.wait(30)
        harness.one(pinging, ping=1)
    assert set(harness.closed) == {idle}
    assert harness.closed[idle].reason == "idle"
    harness.wait(121)
    assert set(harness.closed) == {idle, pinging}


def test_a_lost_socket_hears_nothing_more(harness: Harness) -> None:
    number = harness.connect()
    harness.one(number, ticks="R_10", subscribe=1)
    harness.exchange.disconnect(number)
    harness.exchange.disconnect(number)
    harness.wait(4)
    assert harness.inbox(number) == []


def test_late_wakes_make_up_for_what_they_missed(harness: Harness) -> None:
    number = harness.connect()
    harness.one(number, ticks="1HZ10V", subscribe=1)
    harness.one(number, **BUY)
    harness.now_ns += 20_000_000_000
    answers = harness.raw(number, '{"statement": 1}')
    assert [frame["tick"]["epoch"] for frame in answers[:-1]] == list(range(harness.now_s - 19, harness.now_s + 1))
    assert [row["transaction_time"] for row in answers[-1]["statement"]["transactions"]] == [
        harness.now_s - 19,
        harness.now_s - 20,
    ]


def test_streams_are_forgotten_by_id_or_by_type(harness: Harness) -> None:
    number = harness.connect()
    tick = harness.one(number, ticks="R_10", subscribe=1)["subscription"]["id"]
    balance = harness.one(number, balance=1, subscribe=1)["subscription"]["id"]
    assert harness.one(number, forget=tick)["forget"] == 1
    assert harness.one(number, forget=tick)["forget"] == 0
    assert harness.one(number, forget_all=["ticks", "balance"])["forget_all"] == [balance]


def balance_of(harness: Harness) -> int:
    return int(harness.exchange.options_account.balance)


@pytest.mark.parametrize(
    ("kind", "balance", "abrupt"),
    [
        (FaultKind.DROP_BEFORE, 10_000, True),
        (FaultKind.DROP_AFTER, 9_999, True),
        (FaultKind.DROP_AFTER, 9_999, False),
    ],
)
def test_a_dropped_socket_gets_no_answer_whether_or_not_the_call_ran(
    harness: Harness, kind: FaultKind, balance: int, abrupt: bool
) -> None:
    number, witness = harness.connect(), harness.connect()
    for socket in (number, witness):
        harness.one(socket, transaction=1, subscribe=1)
    harness.exchange.faults.add(FaultRule(kind, Call.BUY, count=1, abrupt=abrupt))
    assert harness.ask(number, **BUY) == []
    assert harness.inbox(number) == []
    assert harness.closed[number].abrupt is abrupt
    assert balance_of(harness) == balance
    assert len(harness.inbox(witness)) == 10_000 - balance
    harness.one(witness, **BUY)


def test_a_delayed_answer_comes_late_but_the_call_ran(harness: Harness) -> None:
    number = harness.connect()
    harness.exchange.faults.add(FaultRule(FaultKind.DELAY, Call.BUY, delay_s=12.5))
    harness.one(number, **BUY)
    assert harness.delays[-1] == 12.5
    assert balance_of(harness) == 9_999


@pytest.mark.parametrize("kind", [FaultKind.GARBAGE, FaultKind.BARE])
def test_a_spoilt_answer_is_no_answer_but_the_call_ran(harness: Harness, kind: FaultKind) -> None:
    number = harness.connect()
    harness.exchange.faults.add(FaultRule(kind, Call.BUY))
    (answer,) = harness.raw(number, to_json(BUY))
    text: str = answer["raw"]
    assert ("contract_id" in text) is (kind is FaultKind.BARE)
    assert "msg_type" not in text
    assert balance_of(harness) == 9_999


def test_a_socket_falls_silent_after_the_call_ran_and_ends_when_it_has_been_idle(harness: Harness) -> None:
    number, witness = harness.connect(), harness.connect()
    for socket in (number, witness):
        harness.one(socket, ticks="1HZ10V", subscribe=1)
    harness.exchange.faults.add(FaultRule(FaultKind.HALF_OPEN, Call.BUY, count=1))
    assert harness.ask(number, **BUY) == []
    assert harness.frozen == {number}
    assert balance_of(harness) == 9_999
    assert harness.ask(number, **BUY) == []
    assert balance_of(harness) == 9_999, "what is sent to a silent socket is not read"
    harness.wait(119)
    assert harness.inbox(number) == []
    assert len(harness.inbox(witness)) == 119
    assert harness.closed == {}
    harness.wait(1)
    assert number in harness.closed


def test_everything_that_a_slow_socket_sends_is_late_and_others_are_not(harness: Harness) -> None:
    number, witness = harness.connect(), harness.connect()
    harness.exchange.faults.add(FaultRule(FaultKind.SLOW, Call.TICKS, count=1, delay_s=4))
    harness.one(number, ticks="1HZ10V", subscribe=1)
    harness.one(number, ping=1)
    harness.wait(1)
    assert harness.delays == [4, 4, 4]
    harness.one(witness, ticks="1HZ10V", subscribe=1)
    assert harness.delays[-1] == 0
    harness.exchange.clear_faults()
    harness.one(number, ping=1)
    assert harness.delays[-1] == 0


@pytest.mark.parametrize(("kind", "balance"), [(FaultKind.ERROR_BEFORE, 10_000), (FaultKind.ERROR_AFTER, 9_999)])
def test_an_error_is_answered_before_or_after_a_purchase(harness: Harness, kind: FaultKind, balance: int) -> None:
    number = harness.connect()
    harness.exchange.faults.add(FaultRule(kind, Call.BUY, count=1, code="OutputValidationFailed"))
    assert harness.refused(number, **BUY) == "OutputValidationFailed"
    assert balance_of(harness) == balance
    harness.one(number, **BUY)


def test_faults_of_the_settings_hold_from_the_start(make_harness: MakeHarness) -> None:
    harness = make_harness(faults=[{"kind": "error_before", "call": "buy", "count": 1, "code": "PriceMoved"}])
    number = harness.connect()
    assert harness.refused(number, **BUY) == "PriceMoved"
    harness.one(number, **BUY)


def test_a_refused_login(harness: Harness) -> None:
    harness.exchange.faults.add(FaultRule(FaultKind.REFUSE_LOGIN, count=1))
    number = harness.connect(Dialect.LEGACY, login=False)
    assert harness.refused(number, authorize="a1-TOKEN") == "InvalidToken"
    harness.one(number, authorize="a1-TOKEN")


def test_the_same_seed_and_the_same_requests_give_the_same_frames(make_harness: MakeHarness) -> None:
    def run(seed: str) -> list[Frame]:
        harness = make_harness(seed=seed)
        number = harness.connect()
        frames = [harness.one(number, ticks="R_10", subscribe=1), harness.one(number, **BUY, subscribe=1)]
        harness.wait(10)
        return frames + harness.inbox(number)

    assert run("1") == run("1")
    assert run("1") != run("2")

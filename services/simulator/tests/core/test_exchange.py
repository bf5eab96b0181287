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
    from conftest import Desk, MakeDesk

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
def test_every_answer_echoes_its_request(desk: Desk, dialect: Dialect) -> None:
    number = desk.connect(dialect, login=False)
    answer = desk.one(number, ping=1, req_id=77, passthrough={"mine": 1.5})
    assert answer["ping"] == "pong"
    assert answer["echo_req"] == {"ping": 1, "req_id": 77, "passthrough": {"mine": 1.5}}
    (bare,) = desk.raw(number, '{"time": 1}')
    assert bare["time"] == desk.now_s
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
def test_refusals_are_frames(desk: Desk, dialect: Dialect, text: str, code: str, msg_type: str) -> None:
    number = desk.connect(dialect, login=False)
    (answer,) = desk.raw(number, text)
    assert answer["error"]["code"] == code
    assert answer["msg_type"] == msg_type
    assert number not in desk.closed


def test_details_name_the_field(desk: Desk) -> None:
    (answer,) = desk.raw(
        desk.connect(), '{"proposal": 1, "contract_type": "CALL", "currency": "USD", "symbol": "R_10"}'
    )
    assert answer["error"]["message"] == "Input validation failed: underlying_symbol, symbol"
    assert answer["error"]["details"]["symbol"] == "Properties not allowed: symbol."


@pytest.mark.parametrize("text", ["", "}{", "[]", "null", '{"a": NaN}', "\x00"])
def test_malformed_json_closes_the_socket(desk: Desk, text: str) -> None:
    number = desk.connect()
    assert desk.raw(number, text) == []
    assert number in desk.closed
    assert desk.raw(number, '{"ping": 1}') == []


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
    make_desk: MakeDesk, frame: object, call: str, field: str, dialect: Dialect
) -> None:
    desk = make_desk()
    number = desk.connect(dialect)
    for content in ({call: 1, field: frame}, {call: frame}, {call: frame, field: frame}):
        for answer in desk.raw(number, to_json(content)):
            assert answer["echo_req"].keys() == content.keys()
        if number in desk.closed:
            assert call == "authorize" or desk.closed[number].reason == "malformed JSON"
            return


@BOTH
def test_a_socket_that_nobody_logged_in_has_the_markets(desk: Desk, dialect: Dialect) -> None:
    number = desk.connect(dialect, login=False)
    desk.one(number, time=1)
    desk.one(number, ticks="R_10", subscribe=1)
    symbol = "symbol" if dialect is Dialect.LEGACY else "underlying_symbol"
    fields = {**BUY["parameters"], symbol: "R_100"}
    if dialect is Dialect.LEGACY:
        del fields["underlying_symbol"]
    desk.one(number, proposal=1, **fields)
    assert desk.refused(number, buy="1", price=1, parameters=fields) == "AuthorizationRequired"
    assert desk.refused(number, portfolio=1) == "AuthorizationRequired"


def test_legacy_tells_its_limits(desk: Desk) -> None:
    number = desk.connect(Dialect.LEGACY, login=False)
    limits = desk.one(number, website_status=1, subscribe=1)["website_status"]["api_call_limits"]
    assert limits["max_requests_outcome"]["minutely"] == 30
    assert limits["max_proposal_subscription"]["max"] == 5
    assert desk.refused(number, website_status=1, subscribe=1) == "AlreadySubscribed"


def test_the_sockets_of_an_account_share_its_limits(desk: Desk) -> None:
    one, other = desk.connect(), desk.connect()
    for number in (one, other):
        for _ in range(15):
            desk.one(number, portfolio=1)
    (answer,) = desk.ask(one, portfolio=1)
    assert answer["error"] == {"code": "RateLimit", "message": "You have reached the rate limit for portfolio."}
    assert answer["msg_type"] == "portfolio"
    assert desk.refused(other, profit_table=1) == "RateLimit"
    desk.one(other, statement=1)
    legacy = desk.connect(Dialect.LEGACY)
    desk.one(legacy, portfolio=1)
    desk.wait(60)
    desk.one(one, portfolio=1)
    counts = desk.exchange.counts
    assert (counts.accepted["portfolio"], counts.refused["portfolio"]) == (32, 1)


def test_a_refused_purchase_buys_nothing(make_desk: MakeDesk) -> None:
    desk = make_desk(limits={"options": {"trade": {60: 1}}})
    number = desk.connect()
    desk.one(number, **BUY)
    assert desk.refused(number, **BUY) == "RateLimit"
    assert desk.one(number, balance=1)["balance"]["balance"] == 9999


def test_malformed_calls_cost_quota_too(make_desk: MakeDesk) -> None:
    desk = make_desk(limits={"options": {"lists": {60: 1}}})
    number = desk.connect()
    assert desk.refused(number, portfolio=2) == "InputValidationFailed"
    assert desk.refused(number, portfolio=1) == "RateLimit"


@pytest.mark.parametrize(("counted", "code"), [(True, "RateLimit"), (False, None)])
def test_whether_refused_calls_count_is_a_setting(make_desk: MakeDesk, counted: bool, code: str | None) -> None:
    desk = make_desk(limits={"options": {"lists": {60: 1}}}, window_kind="sliding", count_refused=counted)
    number = desk.connect()
    desk.one(number, portfolio=1)
    desk.wait(59)
    assert desk.refused(number, portfolio=1) == "RateLimit"
    desk.wait(1)
    (answer,) = desk.ask(number, portfolio=1)
    assert answer.get("error", {}).get("code") == code


def test_ten_pings_a_second_are_free_and_more_are_refused(desk: Desk) -> None:
    number, other = desk.connect(), desk.connect()
    for _ in range(10):
        desk.one(number, ping=1)
    assert desk.refused(number, ping=1) == "RateLimit"
    desk.one(other, ping=1)
    desk.wait(2)
    desk.one(number, ping=1)


def test_streams_cost_nothing(make_desk: MakeDesk) -> None:
    desk = make_desk(limits={"options": {"other": {60: 1}}})
    number = desk.connect()
    desk.one(number, ticks="1HZ10V", subscribe=1)
    desk.wait(50)
    assert len(desk.inbox(number)) == 50


def test_rest_calls_are_counted_by_user_and_by_address(desk: Desk) -> None:
    exchange = desk.exchange
    assert sum(exchange.admit_rest("me", "10.0.0.1", desk.now_ns) for _ in range(100)) == 80
    assert sum(exchange.admit_rest(f"u{n}", "10.0.0.1", desk.now_ns) for n in range(300)) == 200


def test_an_idle_socket_is_closed_and_a_busy_one_is_not(desk: Desk) -> None:
    idle, pinging, streaming = (desk.connect() for _ in range(3))
    desk.one(streaming, ticks="R_10", subscribe=1)
    for _ in range(5):
        desk.wait(30)
        desk.one(pinging, ping=1)
    assert set(desk.closed) == {idle}
    assert desk.closed[idle].reason == "idle"
    desk.wait(121)
    assert set(desk.closed) == {idle, pinging}


def test_a_lost_socket_hears_nothing_more(desk: Desk) -> None:
    number = desk.connect()
    desk.one(number, ticks="R_10", subscribe=1)
    desk.exchange.disconnect(number)
    desk.exchange.disconnect(number)
    desk.wait(4)
    assert desk.inbox(number) == []


def test_late_wakes_make_up_for_what_they_missed(desk: Desk) -> None:
    number = desk.connect()
    desk.one(number, ticks="1HZ10V", subscribe=1)
    desk.one(number, **BUY)
    desk.now_ns += 20_000_000_000
    answers = desk.raw(number, '{"statement": 1}')
    assert [frame["tick"]["epoch"] for frame in answers[:-1]] == list(range(desk.now_s - 19, desk.now_s + 1))
    assert [row["transaction_time"] for row in answers[-1]["statement"]["transactions"]] == [
        desk.now_s - 19,
        desk.now_s - 20,
    ]


def test_streams_are_forgotten_by_id_or_by_type(desk: Desk) -> None:
    number = desk.connect()
    tick = desk.one(number, ticks="R_10", subscribe=1)["subscription"]["id"]
    balance = desk.one(number, balance=1, subscribe=1)["subscription"]["id"]
    assert desk.one(number, forget=tick)["forget"] == 1
    assert desk.one(number, forget=tick)["forget"] == 0
    assert desk.one(number, forget_all=["ticks", "balance"])["forget_all"] == [balance]


def balance_of(desk: Desk) -> int:
    return int(desk.exchange.options_account.balance)


@pytest.mark.parametrize(
    ("kind", "balance", "abrupt"),
    [
        (FaultKind.DROP_BEFORE, 10_000, True),
        (FaultKind.DROP_AFTER, 9_999, True),
        (FaultKind.DROP_AFTER, 9_999, False),
    ],
)
def test_a_dropped_socket_gets_no_answer_whether_or_not_the_call_ran(
    desk: Desk, kind: FaultKind, balance: int, abrupt: bool
) -> None:
    number, witness = desk.connect(), desk.connect()
    for socket in (number, witness):
        desk.one(socket, transaction=1, subscribe=1)
    desk.exchange.faults.add(FaultRule(kind, Call.BUY, count=1, abrupt=abrupt))
    assert desk.ask(number, **BUY) == []
    assert desk.inbox(number) == []
    assert desk.closed[number].abrupt is abrupt
    assert balance_of(desk) == balance
    assert len(desk.inbox(witness)) == 10_000 - balance
    desk.one(witness, **BUY)


def test_a_delayed_answer_comes_late_but_the_call_ran(desk: Desk) -> None:
    number = desk.connect()
    desk.exchange.faults.add(FaultRule(FaultKind.DELAY, Call.BUY, delay_s=12.5))
    desk.one(number, **BUY)
    assert desk.delays[-1] == 12.5
    assert balance_of(desk) == 9_999


@pytest.mark.parametrize("kind", [FaultKind.GARBAGE, FaultKind.BARE])
def test_a_spoilt_answer_is_no_answer_but_the_call_ran(desk: Desk, kind: FaultKind) -> None:
    number = desk.connect()
    desk.exchange.faults.add(FaultRule(kind, Call.BUY))
    (answer,) = desk.raw(number, to_json(BUY))
    text: str = answer["raw"]
    assert ("contract_id" in text) is (kind is FaultKind.BARE)
    assert "msg_type" not in text
    assert balance_of(desk) == 9_999


def test_a_socket_falls_silent_after_the_call_ran_and_ends_when_it_has_been_idle(desk: Desk) -> None:
    number, witness = desk.connect(), desk.connect()
    for socket in (number, witness):
        desk.one(socket, ticks="1HZ10V", subscribe=1)
    desk.exchange.faults.add(FaultRule(FaultKind.HALF_OPEN, Call.BUY, count=1))
    assert desk.ask(number, **BUY) == []
    assert desk.frozen == {number}
    assert balance_of(desk) == 9_999
    assert desk.ask(number, **BUY) == []
    assert balance_of(desk) == 9_999, "what is sent to a silent socket is not read"
    desk.wait(119)
    assert desk.inbox(number) == []
    assert len(desk.inbox(witness)) == 119
    assert desk.closed == {}
    desk.wait(1)
    assert number in desk.closed


def test_everything_that_a_slow_socket_sends_is_late_and_others_are_not(desk: Desk) -> None:
    number, witness = desk.connect(), desk.connect()
    desk.exchange.faults.add(FaultRule(FaultKind.SLOW, Call.TICKS, count=1, delay_s=4))
    desk.one(number, ticks="1HZ10V", subscribe=1)
    desk.one(number, ping=1)
    desk.wait(1)
    assert desk.delays == [4, 4, 4]
    desk.one(witness, ticks="1HZ10V", subscribe=1)
    assert desk.delays[-1] == 0
    desk.exchange.clear_faults()
    desk.one(number, ping=1)
    assert desk.delays[-1] == 0


@pytest.mark.parametrize(("kind", "balance"), [(FaultKind.ERROR_BEFORE, 10_000), (FaultKind.ERROR_AFTER, 9_999)])
def test_an_error_is_answered_before_or_after_a_purchase(desk: Desk, kind: FaultKind, balance: int) -> None:
    number = desk.connect()
    desk.exchange.faults.add(FaultRule(kind, Call.BUY, count=1, code="OutputValidationFailed"))
    assert desk.refused(number, **BUY) == "OutputValidationFailed"
    assert balance_of(desk) == balance
    desk.one(number, **BUY)


def test_faults_of_the_settings_hold_from_the_start(make_desk: MakeDesk) -> None:
    desk = make_desk(faults=[{"kind": "error_before", "call": "buy", "count": 1, "code": "PriceMoved"}])
    number = desk.connect()
    assert desk.refused(number, **BUY) == "PriceMoved"
    desk.one(number, **BUY)


def test_a_refused_login(desk: Desk) -> None:
    desk.exchange.faults.add(FaultRule(FaultKind.REFUSE_LOGIN, count=1))
    number = desk.connect(Dialect.LEGACY, login=False)
    assert desk.refused(number, authorize="a1-TOKEN") == "InvalidToken"
    desk.one(number, authorize="a1-TOKEN")


def test_the_same_seed_and_the_same_requests_give_the_same_frames(make_desk: MakeDesk) -> None:
    def run(seed: str) -> list[Frame]:
        desk = make_desk(seed=seed)
        number = desk.connect()
        frames = [desk.one(number, ticks="R_10", subscribe=1), desk.one(number, **BUY, subscribe=1)]
        desk.wait(10)
        return frames + desk.inbox(number)

    assert run("1") == run("1")
    assert run("1") != run("2")

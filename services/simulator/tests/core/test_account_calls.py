"""What an account shows: states of contracts, streams, lists, logins."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from derivfleet.deriv.dialects import dialect as codec_of
from derivfleet.deriv.ticks import quotes
from derivfleet.deriv.vocabulary import Dialect

if TYPE_CHECKING:
    from conftest import Harness, MakeHarness

    from derivfleet.deriv.answers import ContractState
    from derivfleet.deriv.dialects import Frame

BOTH = pytest.mark.parametrize("dialect", Dialect)


def buy(harness: Harness, number: int, dialect: Dialect, symbol: str = "1HZ100V", **change: Any) -> Frame:
    subscribe = {"subscribe": 1} if change.pop("subscribe", False) else {}
    parameters: Frame = {
        "contract_type": "CALL",
        "currency": "USD",
        "amount": 1,
        "basis": "stake",
        "duration": 2,
        "duration_unit": "t",
        "symbol" if dialect is Dialect.LEGACY else "underlying_symbol": symbol,
    }
    return harness.one(number, buy="1", price=100, parameters=parameters | change, **subscribe)


def states(frames: list[Frame], dialect: Dialect) -> list[ContractState]:
    found = [codec_of(dialect).decode_contract(frame) for frame in frames]
    return [state for state in found if state is not None]


@BOTH
def test_a_contract_is_followed_from_its_receipt_to_its_end(harness: Harness, dialect: Dialect) -> None:
    number = harness.connect(dialect)
    bought_s = harness.now_s
    receipt = buy(harness, number, dialect, subscribe=True)
    harness.wait(20)
    frames = harness.inbox(number)
    assert {frame["subscription"]["id"] for frame in frames} == {receipt["subscription"]["id"]}
    seen = states(frames, dialect)
    assert [state.current_spot_s for state in seen] == list(range(bought_s, bought_s + 4))
    assert [len(state.tick_stream) for state in seen] == [0, 1, 2, 3]
    assert [state.is_sold for state in seen] == [False, False, False, True]
    assert seen[0].entry_spot is None
    ticks = quotes("1", "1HZ100V", bought_s + 1, bought_s + 3)
    last = seen[-1]
    assert list(last.tick_stream) == ticks
    assert (last.entry_s, last.entry_spot) == ticks[0]
    assert (last.exit_s, last.exit_spot) == ticks[-1]
    wins = ticks[-1][1] > ticks[0][1]
    assert last.status == ("won" if wins else "lost")
    assert last.sell_price == (last.payout if wins else 0)
    assert last.profit == (last.sell_price or Decimal(0)) - 1
    assert last.sell_time_s == last.expiry_s == bought_s + 3
    assert last.barrier == str(ticks[0][1])
    assert last.is_expired
    assert harness.one(number, proposal_open_contract=1)["proposal_open_contract"] == {}


@BOTH
def test_a_contract_that_waits_for_its_settlement_is_expired_but_open(
    make_harness: MakeHarness, dialect: Dialect
) -> None:
    harness = make_harness(settlement_delay_s=2)
    number = harness.connect(dialect)
    buy(harness, number, dialect, subscribe=True)
    harness.wait(10)
    seen = states(harness.inbox(number), dialect)
    assert [(state.is_expired, state.is_sold, state.status) for state in seen[:3]] == [(False, False, "open")] * 3
    assert [(state.is_expired, state.is_settleable, state.is_sold, state.status) for state in seen[3:5]] == [
        (True, True, False, "open")
    ] * 2
    assert len(seen) == 6
    assert seen[3].sell_price is None
    assert seen[3].bid_price == seen[5].sell_price


def test_a_digit_contract_shows_its_digit_and_as_many_ticks_as_it_lasts(harness: Harness) -> None:
    number = harness.connect()
    buy(harness, number, Dialect.OPTIONS, subscribe=True, contract_type="DIGITMATCH", barrier="7", duration=3)
    harness.wait(5)
    last = states(harness.inbox(number), Dialect.OPTIONS)[-1]
    assert (last.barrier, last.tick_count, len(last.tick_stream)) == ("7", 3, 3)
    assert last.status == ("won" if str(last.exit_spot)[-1] == "7" else "lost")


def test_an_open_contract_is_worth_what_the_reference_says(harness: Harness) -> None:
    """An open 10-unit DIGITEVEN showed a profit of -0.39 in a capture."""
    number = harness.connect()
    buy(harness, number, Dialect.OPTIONS, subscribe=True, contract_type="DIGITEVEN", amount=10, duration=5)
    first = states(harness.inbox(number), Dialect.OPTIONS)[0]
    assert (first.profit, first.profit_percentage) == (Decimal("-0.39"), Decimal("-3.9"))


@BOTH
def test_all_open_contracts_and_those_bought_later(harness: Harness, dialect: Dialect) -> None:
    watcher, buyer = harness.connect(dialect), harness.connect(dialect)
    first = buy(harness, buyer, dialect)["buy"]["contract_id"]
    (answer,) = harness.ask(watcher, proposal_open_contract=1, subscribe=1)
    assert answer["proposal_open_contract"]["contract_id"] == first
    assert harness.refused(watcher, proposal_open_contract=1, subscribe=1) == "AlreadySubscribed"
    second = buy(harness, buyer, dialect)["buy"]["contract_id"]
    harness.wait(5)
    frames = harness.inbox(watcher)
    streams = {frame["proposal_open_contract"]["contract_id"]: frame["subscription"]["id"] for frame in frames}
    assert set(streams) == {first, second}
    assert len(set(streams.values())) == 2
    ends = [state.contract_id for state in states(frames, dialect) if state.is_sold]
    assert sorted(ends) == [first, second]
    third = buy(harness, buyer, dialect)["buy"]["contract_id"]
    assert states(harness.inbox(watcher), dialect)[0].contract_id == third
    harness.one(watcher, forget_all="proposal_open_contract")
    harness.wait(5)
    assert harness.inbox(watcher) == []


def test_a_socket_without_room_keeps_its_stream_of_all_contracts(make_harness: MakeHarness) -> None:
    harness = make_harness(streams_per_connection=2)
    watcher, buyer = harness.connect(), harness.connect()
    assert harness.one(watcher, proposal_open_contract=1, subscribe=1)["proposal_open_contract"] == {}
    first, _second = (buy(harness, buyer, Dialect.OPTIONS)["buy"]["contract_id"] for _ in range(2))
    assert {state.contract_id for state in states(harness.inbox(watcher), Dialect.OPTIONS)} == {first}
    harness.wait(5)
    harness.inbox(watcher)
    third = buy(harness, buyer, Dialect.OPTIONS)["buy"]["contract_id"]
    assert states(harness.inbox(watcher), Dialect.OPTIONS)[0].contract_id == third


def test_a_closed_contract_can_be_asked_for_and_has_no_stream(harness: Harness) -> None:
    number = harness.connect()
    bought = buy(harness, number, Dialect.OPTIONS)["buy"]["contract_id"]
    harness.wait(10)
    answer = harness.one(number, proposal_open_contract=1, contract_id=bought, subscribe=1)
    assert answer["proposal_open_contract"]["is_sold"] == 1
    assert harness.one(number, proposal_open_contract=1, contract_id=bought, subscribe=1)
    assert harness.refused(number, proposal_open_contract=1, contract_id=1) == "ContractNotFound"


@BOTH
def test_every_movement_reaches_every_socket_that_listens(harness: Harness, dialect: Dialect) -> None:
    buyer, listener, deaf = (harness.connect(dialect) for _ in range(3))
    stranger = harness.connect(Dialect.LEGACY if dialect is Dialect.OPTIONS else Dialect.OPTIONS)
    first = harness.one(listener, transaction=1, subscribe=1)
    harness.one(stranger, transaction=1, subscribe=1)
    assert set(first["transaction"]) == {"id"}
    harness.one(listener, balance=1, subscribe=1)
    receipt = buy(harness, buyer, dialect)["buy"]
    harness.wait(10)
    frames = harness.inbox(listener)
    codec = codec_of(dialect)
    moves = [codec.decode_transaction(frame) for frame in frames if frame["msg_type"] == "transaction"]
    balances = [codec.decode_balance(frame) for frame in frames if frame["msg_type"] == "balance"]
    bought, sold = moves
    assert bought is not None
    assert sold is not None
    assert (bought.action, bought.amount, bought.balance) == ("buy", -1, 9999)
    assert (bought.transaction_id, bought.contract_id) == (receipt["transaction_id"], receipt["contract_id"])
    assert (bought.symbol, bought.purchase_time_s) == ("1HZ100V", None)
    assert (sold.action, sold.balance) == ("sell", 9999 + sold.amount)
    assert sold.purchase_time_s == receipt["purchase_time"]
    assert sold.transaction_time_s == receipt["purchase_time"] + 3
    assert (bought.barrier is None) is (dialect is Dialect.OPTIONS)
    assert [balance.balance for balance in balances] == [bought.balance, sold.balance]
    assert harness.inbox(deaf) == harness.inbox(stranger) == []


@BOTH
def test_the_statement_lists_every_movement_newest_first(harness: Harness, dialect: Dialect) -> None:
    number = harness.connect(dialect)
    receipts: list[Frame] = []
    for _ in range(3):
        receipts.append(buy(harness, number, dialect)["buy"])
        harness.wait(10)
    codec = codec_of(dialect)
    rows = codec.decode_statement(harness.one(number, statement=1))
    assert [row.action_type for row in rows] == ["sell", "buy"] * 3
    assert [row.balance_after for row in rows][-1] == 9999
    for newer, older in pairwise(rows):
        assert newer.balance_after == older.balance_after + newer.amount
    assert rows[0].reference_id == rows[1].transaction_id == receipts[-1]["transaction_id"]
    assert rows[0].purchase_time_s == receipts[-1]["purchase_time"]
    assert {row.shortcode for row in rows} == {None}
    assert {row.app_id for row in rows if row.action_type == "buy"} == {12345 if dialect is Dialect.LEGACY else None}
    described = codec.decode_statement(harness.one(number, statement=1, description=1, action_type="buy"))
    assert [row.shortcode for row in described] == [receipt["shortcode"] for receipt in reversed(receipts)]
    paged = codec.decode_statement(harness.one(number, statement=1, limit=2, offset=1))
    assert paged == rows[1:3]
    assert codec.decode_statement(harness.one(number, statement=1, limit=0)) == ()
    second_s = receipts[1]["purchase_time"]
    between = harness.one(number, statement=1, date_from=second_s, date_to=second_s)
    assert [row.transaction_id for row in codec.decode_statement(between)] == [receipts[1]["transaction_id"]]


def test_a_statement_can_lag(make_harness: MakeHarness) -> None:
    harness = make_harness(statement_lag_s=30)
    number = harness.connect()
    buy(harness, number, Dialect.OPTIONS)
    assert harness.one(number, statement=1)["statement"]["count"] == 0
    assert len(harness.one(number, portfolio=1)["portfolio"]["contracts"]) == 1
    harness.wait(30)
    assert harness.one(number, statement=1)["statement"]["count"] == 1
    assert harness.one(number, profit_table=1)["profit_table"]["count"] == 0
    harness.wait(3)
    assert harness.one(number, profit_table=1)["profit_table"]["count"] == 1


@BOTH
def test_the_portfolio_holds_open_contracts_and_no_others(harness: Harness, dialect: Dialect) -> None:
    number = harness.connect(dialect)
    buy(harness, number, dialect)
    harness.wait(10)
    call = buy(harness, number, dialect)["buy"]
    put = buy(harness, number, dialect, contract_type="PUT", duration=5)["buy"]
    codec = codec_of(dialect)
    rows = codec.decode_portfolio(harness.one(number, portfolio=1))
    assert [row.contract_id for row in rows] == [call["contract_id"], put["contract_id"]]
    assert (rows[0].symbol, rows[0].shortcode, rows[0].buy_price) == ("1HZ100V", call["shortcode"], 1)
    assert rows[0].app_id == (12345 if dialect is Dialect.LEGACY else None)
    puts = codec.decode_portfolio(harness.one(number, portfolio=1, contract_type=["PUT"]))
    assert [row.contract_id for row in puts] == [put["contract_id"]]


@BOTH
def test_the_profit_table_holds_closed_contracts(harness: Harness, dialect: Dialect) -> None:
    number = harness.connect(dialect)
    ids: list[int] = []
    for kind in ("CALL", "PUT", "CALL"):
        ids.append(buy(harness, number, dialect, contract_type=kind)["buy"]["contract_id"])
        harness.wait(10)
    buy(harness, number, dialect)
    codec = codec_of(dialect)

    def rows(**fields: Any) -> list[int]:
        return [row.contract_id for row in codec.decode_profit_table(harness.one(number, profit_table=1, **fields))]

    assert rows() == ids[::-1]
    assert rows(sort="ASC") == ids
    assert rows(limit=1, offset=1) == [ids[1]]
    assert rows(contract_type=["PUT"]) == [ids[1]]
    day = datetime.fromtimestamp(harness.now_s, UTC).date().isoformat()
    assert rows(date_from=day, date_to=day) == ids[::-1]
    assert rows(date_from=str(harness.now_s)) == []
    assert rows(date_from="2026-02-31") == []
    (described,) = codec.decode_profit_table(harness.one(number, profit_table=1, description=1, limit=1))
    assert described.shortcode is not None
    assert described.shortcode.startswith("CALL_1HZ100V_1.95_")
    assert (described.symbol, described.contract_type) == ("1HZ100V", "CALL")


def test_a_legacy_socket_logs_in_and_out(harness: Harness) -> None:
    number = harness.connect(Dialect.LEGACY, login=False)
    assert harness.refused(number, balance=1) == "AuthorizationRequired"
    assert harness.refused(number, authorize="wrong") == "InvalidToken"
    (answer,) = harness.ask(number, authorize="a1-TOKEN")
    login = codec_of(Dialect.LEGACY).decode_authorize(answer)
    assert (login.loginid, login.balance, login.is_virtual) == ("VRTC90000001", 10_000, True)
    assert login.scopes == {"read", "trade"}
    assert answer["echo_req"]["authorize"] == "<not shown>"
    harness.one(number, balance=1, subscribe=1)
    harness.one(number, ticks="R_10", subscribe=1)
    assert harness.one(number, logout=1)["logout"] == 1
    assert harness.refused(number, balance=1) == "AuthorizationRequired"
    harness.wait(2)
    assert [frame["msg_type"] for frame in harness.inbox(number)] == ["tick"]


def test_a_fifth_socket_of_an_account_is_closed(harness: Harness) -> None:
    numbers = [harness.connect(Dialect.LEGACY) for _ in range(4)]
    fifth = harness.connect(Dialect.LEGACY, login=False)
    assert harness.ask(fifth, authorize="a1-TOKEN") == []
    assert harness.closed[fifth].reason == "too many connections"
    harness.one(numbers[0], authorize="a1-TOKEN")
    harness.exchange.disconnect(numbers[0])
    harness.connect(Dialect.LEGACY)


def test_a_real_account_says_so(make_harness: MakeHarness) -> None:
    harness = make_harness(account_type="real", legacy_account="CR90000001")
    number = harness.connect(Dialect.LEGACY, login=False)
    (answer,) = harness.ask(number, authorize="a1-TOKEN")
    assert (answer["authorize"]["is_virtual"], answer["authorize"]["loginid"]) == (0, "CR90000001")


def test_only_the_own_loginid_can_be_named(harness: Harness) -> None:
    number = harness.connect(Dialect.LEGACY)
    harness.one(number, balance=1, loginid="VRTC90000001")
    assert harness.refused(number, balance=1, loginid="CR1") == "PermissionDenied"

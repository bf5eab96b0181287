"""Answers survive the wire in both dialects and are valid under Deriv's own schemas."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.deriv import answers
from derivfleet.deriv.candles import Candle
from derivfleet.deriv.dialects import Codec, Frame, dialect, from_json, to_json
from derivfleet.deriv.errors import MalformedAnswer
from derivfleet.deriv.limits import LEGACY_LIMITS
from derivfleet.deriv.offers import offers_of
from derivfleet.deriv.ticks import Tick
from derivfleet.deriv.vocabulary import Call, Dialect

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Schemas

STREAM = "0b1c2d3e-0000-4000-8000-000000000010"
CENTS = st.integers(-(10**9), 10**9).map(lambda n: Decimal(n).scaleb(-2))

RECEIPT = answers.BuyReceipt(
    contract_id=301234567888,
    transaction_id=601234567868,
    buy_price=Decimal("1.00"),
    payout=Decimal("1.95"),
    purchase_time_s=1795161602,
    start_time_s=1795161602,
    balance_after=Decimal("9999.00"),
    shortcode="CALL_R_100_1.95_1795161602_5T_S0P_0",
    longcode="Win if it rises.",
    stream_id=STREAM,
)
OPEN = answers.ContractState(
    contract_id=301234567888,
    contract_type="CALL",
    symbol="R_100",
    currency="USD",
    is_sold=False,
    buy_price=Decimal("1.00"),
    payout=Decimal("1.95"),
    status="open",
    bid_price=Decimal("0.95"),
    profit=Decimal("-0.05"),
    profit_percentage=Decimal("-5.00"),
    purchase_time_s=1795161602,
    start_s=1795161602,
    expiry_s=1795161614,
    entry_spot=Decimal("1184.60"),
    entry_s=1795161604,
    current_spot=Decimal("1184.60"),
    current_spot_s=1795161604,
    barrier="1184.60",
    tick_count=5,
    tick_stream=((1795161604, Decimal("1184.60")),),
    buy_transaction_id=601234567868,
    shortcode="CALL_R_100_1.95_1795161602_5T_S0P_0",
    longcode="Win if it rises.",
    stream_id=STREAM,
)
SOLD = answers.ContractState(
    contract_id=301234567888,
    contract_type="CALL",
    symbol="R_100",
    currency="USD",
    is_sold=True,
    is_expired=True,
    is_settleable=True,
    buy_price=Decimal("1.00"),
    payout=Decimal("1.95"),
    status="won",
    bid_price=Decimal("1.95"),
    profit=Decimal("0.95"),
    profit_percentage=Decimal("95.00"),
    sell_price=Decimal("1.95"),
    sell_time_s=1795161614,
    exit_spot=Decimal("1185.02"),
    exit_s=1795161614,
    buy_transaction_id=601234567868,
    sell_transaction_id=601234567948,
)
MOVEMENT = answers.Transaction(
    action="sell",
    transaction_id=601234567948,
    contract_id=301234567888,
    amount=Decimal("1.95"),
    balance=Decimal("10000.95"),
    transaction_time_s=1795161614,
    currency="USD",
    symbol="R_100",
    longcode="Win if it rises.",
    purchase_time_s=1795161602,
    expiry_s=1795161614,
    stream_id=STREAM,
)
STATEMENT = answers.StatementRow(
    action_type="buy",
    transaction_id=601234567868,
    contract_id=301234567888,
    amount=Decimal("-1.00"),
    balance_after=Decimal("9999.00"),
    transaction_time_s=1795161602,
    payout=Decimal("1.95"),
    shortcode="CALL_R_100_1.95_1795161602_5T_S0P_0",
    longcode="Win if it rises.",
)
HELD = answers.PortfolioRow(
    contract_id=301234567888,
    transaction_id=601234567868,
    buy_price=Decimal("1.00"),
    payout=Decimal("1.95"),
    purchase_time_s=1795161602,
    contract_type="CALL",
    symbol="R_100",
    currency="USD",
    start_s=1795161602,
    expiry_s=1795161614,
    shortcode="CALL_R_100_1.95_1795161602_5T_S0P_0",
    longcode="Win if it rises.",
)
CLOSED = answers.ProfitRow(
    contract_id=301234567888,
    transaction_id=601234567868,
    buy_price=Decimal("1.00"),
    sell_price=Decimal("0.00"),
    purchase_time_s=1795161602,
    sell_time_s=1795161614,
    payout=Decimal("1.95"),
    contract_type="CALL",
    symbol="R_100",
)
TICK = answers.TickUpdate(
    Tick("R_100", 1795161602, Decimal("1184.90"), 2), Decimal("1184.80"), Decimal("1185.00"), STREAM
)
CANDLE = Candle(1795161600, Decimal("271.2000"), Decimal("271.2100"), Decimal("271.1800"), Decimal("271.1900"))
BALANCE = answers.Balance(Decimal("9999.00"), "USD", "DOT90000001", STREAM)
SALE = answers.SellReceipt(301234569008, 601234569968, 601234569888, Decimal("10.62"), Decimal("10000.62"))
QUOTE = answers.Quote(
    id=STREAM,
    ask_price=Decimal("1.00"),
    payout=Decimal("1.64"),
    spot=Decimal("682.50"),
    spot_s=1795161602,
    start_s=1795161602,
    expiry_s=1795161603,
    longcode="Win if the last digit is over 3.",
    minimum_stake=Decimal("0.35"),
    maximum_payout=Decimal("50000.00"),
    stream_id=STREAM,
)
TICKS_HISTORY = answers.History(
    prices=((1795161601, Decimal("682.50")), (1795161602, Decimal("682.71"))), decimals=2, stream_id=STREAM
)
CANDLES_HISTORY = answers.History(candles=(CANDLE,), decimals=4)
OHLC = answers.OhlcUpdate("R_50", CANDLE, 60, 1795161602, 4, STREAM)
ROW = answers.SymbolRow("R_100", "Volatility 100 Index", Decimal("0.01"), True, False)

Case = tuple[Call, "Callable[[Codec], Frame]", "Callable[[Codec, Frame], Any]", object]
CASES: dict[str, Case] = {
    "buy": (Call.BUY, lambda c: c.encode_buy(RECEIPT), lambda c, f: c.decode_buy(f), RECEIPT),
    "sell": (Call.SELL, lambda c: c.encode_sell(SALE), lambda c, f: c.decode_sell(f), SALE),
    "open": (Call.PROPOSAL_OPEN_CONTRACT, lambda c: c.encode_contract(OPEN), lambda c, f: c.decode_contract(f), OPEN),
    "sold": (Call.PROPOSAL_OPEN_CONTRACT, lambda c: c.encode_contract(SOLD), lambda c, f: c.decode_contract(f), SOLD),
    "none open": (
        Call.PROPOSAL_OPEN_CONTRACT,
        lambda c: c.encode_contract(None),
        lambda c, f: c.decode_contract(f),
        None,
    ),
    "movement": (
        Call.TRANSACTION,
        lambda c: c.encode_transaction(MOVEMENT, STREAM),
        lambda c, f: c.decode_transaction(f),
        MOVEMENT,
    ),
    "first movement": (
        Call.TRANSACTION,
        lambda c: c.encode_transaction(None, STREAM),
        lambda c, f: c.decode_transaction(f),
        None,
    ),
    "statement": (
        Call.STATEMENT,
        lambda c: c.encode_statement([STATEMENT]),
        lambda c, f: c.decode_statement(f),
        (STATEMENT,),
    ),
    "portfolio": (
        Call.PORTFOLIO,
        lambda c: c.encode_portfolio([HELD]),
        lambda c, f: c.decode_portfolio(f),
        (HELD,),
    ),
    "profit table": (
        Call.PROFIT_TABLE,
        lambda c: c.encode_profit_table([CLOSED]),
        lambda c, f: c.decode_profit_table(f),
        (CLOSED,),
    ),
    "balance": (Call.BALANCE, lambda c: c.encode_balance(BALANCE), lambda c, f: c.decode_balance(f), BALANCE),
    "tick": (Call.TICKS, lambda c: c.encode_tick(TICK), lambda c, f: c.decode_tick(f), TICK),
    "history": (
        Call.TICKS_HISTORY,
        lambda c: c.encode_history(TICKS_HISTORY, as_candles=False),
        lambda c, f: c.decode_history(f),
        TICKS_HISTORY,
    ),
    "candles": (
        Call.TICKS_HISTORY,
        lambda c: c.encode_history(CANDLES_HISTORY, as_candles=True),
        lambda c, f: c.decode_history(f),
        CANDLES_HISTORY,
    ),
    "ohlc": (Call.TICKS_HISTORY, lambda c: c.encode_ohlc(OHLC), lambda c, f: c.decode_ohlc(f), OHLC),
    "proposal": (Call.PROPOSAL, lambda c: c.encode_proposal(QUOTE), lambda c, f: c.decode_proposal(f), QUOTE),
    "symbols": (
        Call.ACTIVE_SYMBOLS,
        lambda c: c.encode_active_symbols([ROW]),
        lambda c, f: c.decode_active_symbols(f),
        (ROW,),
    ),
    "time": (Call.TIME, lambda c: c.encode_plain(Call.TIME, 1795161602), lambda c, f: c.decode_time(f), 1795161602),
}
KEYS = [(name, key) for name in Dialect for key in CASES]


def on_the_wire(codec: Codec, answer: Frame) -> str:
    return to_json(codec.complete(answer, {"ping": 1, "req_id": 9}))


@pytest.mark.parametrize(("name", "key"), KEYS)
def test_what_is_written_is_what_is_read(name: Dialect, key: str) -> None:
    _, write, read, value = CASES[key]
    codec = dialect(name)
    frame = from_json(on_the_wire(codec, write(codec)))
    assert codec.decode_error(frame) is None
    assert frame["req_id"] == 9
    assert read(codec, frame) == value


@pytest.mark.parametrize(("name", "key"), KEYS)
def test_every_answer_is_valid_under_the_published_schema(name: Dialect, key: str, schemas: Schemas) -> None:
    call, write, _, _ = CASES[key]
    codec = dialect(name)
    schemas.check(name, call, "response", json.loads(on_the_wire(codec, write(codec))))


def test_legacy_answers_without_a_counterpart_are_valid_too(schemas: Schemas) -> None:
    codec = dialect(Dialect.LEGACY)
    login = answers.Authorized("VRTC1000001", "USD", Decimal("10000.00"), True, frozenset({"read", "trade"}))
    frame = from_json(on_the_wire(codec, codec.encode_authorize(login)))
    assert codec.decode_authorize(frame) == login
    schemas.check(Dialect.LEGACY, Call.AUTHORIZE, "response", json.loads(to_json(frame)))
    frame = from_json(on_the_wire(codec, codec.encode_website_status(LEGACY_LIMITS, STREAM)))
    assert codec.decode_call_limits(frame)["max_requests_pricing"]["minutely"] == 80
    assert codec.stream_id_of(frame) == STREAM
    schemas.check(Dialect.LEGACY, Call.WEBSITE_STATUS, "response", json.loads(to_json(frame)))


@pytest.mark.parametrize("name", Dialect)
def test_the_catalogue_is_valid_and_names_every_type(name: Dialect, schemas: Schemas) -> None:
    codec = dialect(name)
    frame = json.loads(on_the_wire(codec, codec.encode_contracts_for(offers_of("R_100"))))
    schemas.check(name, Call.CONTRACTS_FOR, "response", frame)
    rows = frame["contracts_for"]["available"]
    assert {row["contract_type"] for row in rows} >= {"CALL", "PUTE", "DIGITODD"}
    digits = {row["contract_type"]: row.get("last_digit_range") for row in rows}
    assert digits["DIGITOVER"] == list(range(9))
    assert digits["DIGITUNDER"] == list(range(1, 10))
    assert digits["DIGITEVEN"] is None


def test_money_of_an_open_contract_is_text_only_in_the_current_dialect() -> None:
    text = from_json(on_the_wire(dialect(Dialect.OPTIONS), dialect(Dialect.OPTIONS).encode_contract(OPEN)))
    state = text["proposal_open_contract"]
    assert state["buy_price"] == "1.00"
    assert state["entry_spot"] == "1184.60"
    assert state["underlying_symbol"] == "R_100"
    number = from_json(on_the_wire(dialect(Dialect.LEGACY), dialect(Dialect.LEGACY).encode_contract(OPEN)))
    state = number["proposal_open_contract"]
    assert state["buy_price"] == 1
    assert state["entry_tick"] == Decimal("1184.6")
    assert state["underlying"] == "R_100"


def test_only_legacy_says_which_app_bought() -> None:
    row = answers.StatementRow("buy", 1, 2, Decimal(-1), Decimal(9999), 3, app_id=12345)
    seen = {
        name: dialect(name).decode_statement(from_json(to_json(dialect(name).encode_statement([row]))))[0].app_id
        for name in Dialect
    }
    assert seen == {Dialect.OPTIONS: None, Dialect.LEGACY: 12345}


def test_the_last_digit_survives_a_trailing_zero() -> None:
    frame = from_json(
        '{"msg_type":"tick","tick":{"symbol":"R_100","epoch":1795161602,"quote":1184.9,"pip_size":2},"echo_req":{}}'
    )
    update = dialect(Dialect.OPTIONS).decode_tick(frame)
    assert update.tick.quote == Decimal("1184.90")
    assert update.tick.digit == 0
    del frame["tick"]["pip_size"]
    assert dialect(Dialect.OPTIONS).decode_tick(frame, decimals=2).tick.digit == 0
    assert dialect(Dialect.OPTIONS).decode_tick(frame).tick.decimals == 1


@given(amount=CENTS, balance=CENTS, as_text=st.booleans())
def test_amounts_are_read_alike_as_number_or_text(amount: Decimal, balance: Decimal, as_text: bool) -> None:
    def shape(number: Decimal) -> object:
        return str(number) if as_text else float(number)

    content = {"transaction_id": 1, "action": "buy", "amount": shape(amount), "balance": shape(balance)}
    text = json.dumps({"msg_type": "transaction", "transaction": content | {"transaction_time": 5}})
    movement = dialect(Dialect.LEGACY).decode_transaction(from_json(text))
    assert movement is not None
    assert (movement.amount, movement.balance) == (amount, balance)


@pytest.mark.parametrize("missing", ["contract_id", "transaction_id", "buy_price", "purchase_time", "balance_after"])
def test_a_receipt_without_its_proof_is_malformed(missing: str) -> None:
    codec = dialect(Dialect.OPTIONS)
    frame = codec.encode_buy(RECEIPT)
    del frame["buy"][missing]
    with pytest.raises(MalformedAnswer, match=missing):
        codec.decode_buy(frame)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("contract_id", "many"),
        ("contract_id", 1.5),
        ("contract_id", True),
        ("contract_id", 2**63),
        ("purchase_time", "1e99999999"),
        ("purchase_time", "9" * 5000),
        ("buy_price", "NaN"),
        ("buy_price", "1e99999999"),
        ("payout", "1e-99999999"),
        ("buy_price", []),
        ("shortcode", {}),
    ],
)
def test_a_field_of_the_wrong_type_is_malformed(field: str, value: object) -> None:
    codec = dialect(Dialect.OPTIONS)
    frame = codec.encode_buy(RECEIPT)
    frame["buy"][field] = value
    with pytest.raises(MalformedAnswer, match=field):
        codec.decode_buy(frame)


@pytest.mark.parametrize(
    "frame",
    [
        {"msg_type": "history"},
        {"history": {"times": [1], "prices": []}},
        {"history": {"times": 1, "prices": []}},
        {"history": {"times": [1], "prices": [2]}, "pip_size": 99},
        {"history": {"times": [1], "prices": ["1e40"]}, "pip_size": 2},
        {"candles": [1]},
        {"candles": [{"epoch": 1}]},
    ],
)
def test_a_history_that_makes_no_sense_is_malformed(frame: Frame) -> None:
    with pytest.raises(MalformedAnswer):
        dialect(Dialect.OPTIONS).decode_history(frame)


def test_flags_and_children_of_the_wrong_type_are_malformed() -> None:
    codec = dialect(Dialect.LEGACY)
    for field, value in (("is_sold", 2), ("transaction_ids", 5), ("tick_stream", [5])):
        frame = codec.encode_contract(SOLD)
        frame["proposal_open_contract"][field] = value
        with pytest.raises(MalformedAnswer, match=field):
            codec.decode_contract(frame)


def test_an_error_is_read_with_its_details() -> None:
    codec = dialect(Dialect.OPTIONS)
    error = answers.ErrorAnswer(
        "InputValidationFailed", "Input validation failed: price", {"price": "Missing property."}
    )
    assert codec.decode_error(from_json(to_json(codec.encode_error("buy", error)))) == error
    bare = answers.ErrorAnswer("RateLimit", "You have reached the rate limit for buy.")
    assert codec.decode_error(from_json(to_json(codec.encode_error("buy", bare)))) == bare
    with pytest.raises(MalformedAnswer):
        codec.decode_error({"error": "RateLimit"})

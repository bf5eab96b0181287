"""Requests survive the wire, are valid under Deriv's own schemas, and strangers are refused."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from derivfleet.deriv import requests
from derivfleet.deriv.dialects import dialect, from_json, to_json
from derivfleet.deriv.errors import InputValidationFailed, UnrecognisedRequest
from derivfleet.deriv.vocabulary import Basis, Call, Dialect, DurationUnit, HistoryStyle, StreamType

if TYPE_CHECKING:
    from conftest import Schemas

STREAM = "0b1c2d3e-0000-4000-8000-000000000010"
PARAMETERS: dict[str, Any] = {
    "contract_type": "DIGITOVER",
    "currency": "USD",
    "underlying_symbol": "R_100",
    "amount": Decimal("0.35"),
    "basis": Basis.STAKE,
    "duration": 5,
    "duration_unit": DurationUnit.TICKS,
    "barrier": "3",
}
BOTH: tuple[requests.Request, ...] = (
    requests.Ping(),
    requests.Time(),
    requests.Ticks(ticks="R_100", subscribe=1),
    requests.Ticks(ticks=["R_100", "1HZ10V"]),
    requests.TicksHistory(ticks_history="R_50", count=3, style=HistoryStyle.CANDLES, granularity=60, subscribe=1),
    requests.TicksHistory(ticks_history="R_50", start=1, end="1795161600", adjust_start_time=1),
    requests.ActiveSymbols(active_symbols="full", contract_type=["CALL"]),
    requests.ContractsFor(contracts_for="R_100"),
    requests.Proposal(**PARAMETERS, subscribe=1),
    requests.Buy(buy=STREAM, price=Decimal(1)),
    requests.Buy(price=Decimal("12.5"), parameters=requests.BuyParameters(**PARAMETERS), subscribe=1),
    requests.Sell(sell=301234569008, price=Decimal("0.01")),
    requests.Cancel(cancel=301234569028),
    requests.ContractUpdate(
        contract_id=301234569028, limit_order=requests.LimitOrderChange(take_profit=Decimal("2.5"), stop_loss=None)
    ),
    requests.ProposalOpenContract(contract_id=301234567888, subscribe=1),
    requests.ProposalOpenContract(),
    requests.Portfolio(contract_type=["CALL", "DIGITOVER"]),
    requests.Statement(action_type="buy", date_from=1795161600, description=1, limit=50, offset=2),
    requests.ProfitTable(date_from="1795161600", description=1, limit=50, sort="DESC"),
    requests.Transaction(),
    requests.Balance(subscribe=1),
    requests.Forget(forget=STREAM),
    requests.ForgetAll(forget_all=[StreamType.TICKS, StreamType.CANDLES]),
    requests.ForgetAll(forget_all=StreamType.PROPOSAL),
    requests.Logout(),
)
LEGACY_ONLY: tuple[requests.Request, ...] = (
    requests.Authorize(authorize="a1-EXAMPLETOKEN", add_to_login_history=0),
    requests.WebsiteStatus(subscribe=1),
    requests.ActiveSymbols(product_type="basic", landing_company="virtual"),
    requests.ContractsFor(contracts_for="R_100", currency="USD", product_type="basic"),
    requests.Balance(account="current", subscribe=1),
    requests.Portfolio(loginid="VRTC1000001"),
    requests.Statement(action_type="transfer"),
    requests.ForgetAll(forget_all=StreamType.WEBSITE_STATUS),
)
CASES = [(name, request) for name in Dialect for request in BOTH] + [
    (Dialect.LEGACY, request) for request in LEGACY_ONLY
]


@pytest.mark.parametrize(("name", "request_"), CASES)
def test_what_is_written_is_what_is_read(name: Dialect, request_: requests.Request) -> None:
    codec = dialect(name)
    frame = from_json(json.dumps(codec.encode_request(request_, 7)))
    assert frame["req_id"] == 7
    assert codec.call_of(frame) is request_.call
    assert codec.decode_request(frame) == request_


@pytest.mark.parametrize(("name", "request_"), CASES)
def test_every_request_is_valid_under_the_published_schema(
    name: Dialect, request_: requests.Request, schemas: Schemas
) -> None:
    schemas.check(name, request_.call, "request", dialect(name).encode_request(request_, 7))


def test_the_two_dialects_name_the_symbol_differently() -> None:
    buy = requests.Buy(price=Decimal(1), parameters=requests.BuyParameters(**PARAMETERS))
    assert "symbol" in dialect(Dialect.LEGACY).encode_request(buy, 1)["parameters"]
    assert "underlying_symbol" in dialect(Dialect.OPTIONS).encode_request(buy, 1)["parameters"]


@pytest.mark.parametrize("request_", [request for request in LEGACY_ONLY if request.call is not Call.STATEMENT][:6])
def test_the_current_dialect_does_not_send_what_only_legacy_has(request_: requests.Request) -> None:
    with pytest.raises(ValueError, match=r"has no|in options"):
        dialect(Dialect.OPTIONS).encode_request(request_, 1)


def test_null_in_a_limit_order_update_is_sent_because_it_removes_the_order() -> None:
    change = requests.ContractUpdate(contract_id=1, limit_order=requests.LimitOrderChange(stop_loss=None))
    assert dialect(Dialect.OPTIONS).encode_request(change, 1)["limit_order"] == {"stop_loss": None}


@pytest.mark.parametrize("amount", ["0.001", "1.005"])
def test_money_with_more_than_two_decimals_is_not_sent(amount: str) -> None:
    parameters: dict[str, Any] = PARAMETERS | {"amount": Decimal(amount)}
    wrong = requests.Buy(price=Decimal(1), parameters=requests.BuyParameters(**parameters))
    with pytest.raises(ValueError, match="amount"):
        dialect(Dialect.OPTIONS).encode_request(wrong, 1)
    with pytest.raises(ValueError, match="price"):
        dialect(Dialect.OPTIONS).encode_request(requests.Buy(price=Decimal(amount)), 1)


@pytest.mark.parametrize("price", [1.5, "1", True])
def test_money_is_never_a_float_a_text_or_a_truth_value(price: object) -> None:
    with pytest.raises(ValidationError):
        requests.Buy.model_validate({"price": price})


@given(cents=st.integers(0, 10**12))
def test_money_reaches_the_wire_exactly(cents: int) -> None:
    price = Decimal(cents).scaleb(-2)
    frame = dialect(Dialect.OPTIONS).encode_request(requests.Sell(sell=1, price=price), 1)
    assert from_json(json.dumps(frame))["price"] == price


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        ('{"ping": 2}', "ping"),
        ('{"ping": 1, "more": 1}', "more"),
        ('{"ping": 1, "req_id": "1"}', "req_id"),
        ('{"ping": 1, "req_id": true}', "req_id"),
        ('{"ping": 1, "passthrough": 1}', "passthrough"),
        ('{"ticks": "R_100", "subscribe": 0}', "subscribe"),
        ('{"ticks": "R 100"}', "ticks"),
        ('{"ticks": null}', "ticks"),
        ('{"ticks_history": "R_100", "end": "now"}', "end"),
        ('{"ticks_history": "R_100", "end": "latest", "granularity": 61}', "granularity"),
        ('{"statement": 1, "date_from": "1795161600"}', "date_from"),
        ('{"statement": 1, "limit": 1000}', "limit"),
        ('{"statement": 1, "action_type": "gift"}', "action_type"),
        ('{"profit_table": 1, "date_from": 1795161600}', "date_from"),
        ('{"transaction": 1, "subscribe": 0}', "subscribe"),
        ('{"forget": "short"}', "forget"),
        ('{"forget_all": ["ticks", "all"]}', "forget_all"),
        ('{"portfolio": 1, "contract_type": ["SNAKE"]}', "contract_type"),
        ('{"buy": "1", "price": -1}', "price"),
        ('{"buy": "1", "price": "1"}', "price"),
        ('{"buy": "1", "price": 1, "parameters": {"contract_type": "CALL"}}', "currency"),
        ('{"buy": "1", "price": 1, "parameters": 5}', "parameters"),
        ('{"sell": 1.5, "price": 0}', "sell"),
    ],
)
@pytest.mark.parametrize("name", Dialect)
def test_a_frame_that_breaks_the_schema_is_refused_by_field(name: Dialect, frame: str, field: str) -> None:
    with pytest.raises(InputValidationFailed) as caught:
        dialect(name).decode_request(from_json(frame))
    assert field in caught.value.details
    assert caught.value.code == "InputValidationFailed"


@pytest.mark.parametrize(
    ("name", "symbol", "wrong"),
    [(Dialect.OPTIONS, "underlying_symbol", "symbol"), (Dialect.LEGACY, "symbol", "underlying_symbol")],
)
def test_the_other_dialects_symbol_is_a_property_not_allowed(name: Dialect, symbol: str, wrong: str) -> None:
    parameters = {"contract_type": "CALL", "currency": "USD"}
    frame = {"proposal": 1, **parameters, wrong: "R_100"}
    with pytest.raises(InputValidationFailed) as caught:
        dialect(name).decode_request(frame)
    assert f"Properties not allowed: {wrong}." in caught.value.details.values()
    with pytest.raises(InputValidationFailed) as caught:
        dialect(name).decode_request({"buy": "1", "price": 1, "parameters": parameters})
    assert caught.value.details == {symbol: "Missing property."}


@pytest.mark.parametrize("extra", ["loginid", "date_start", "product_type"])
def test_legacy_fields_are_refused_in_the_current_dialect(extra: str) -> None:
    frame = {"proposal": 1, "contract_type": "CALL", "currency": "USD", "underlying_symbol": "R_100", extra: "x"}
    with pytest.raises(InputValidationFailed) as caught:
        dialect(Dialect.OPTIONS).decode_request(frame)
    assert caught.value.details == {extra: f"Properties not allowed: {extra}."}


def test_types_of_the_other_dialect_are_not_in_the_list() -> None:
    for name, wrong, right in ((Dialect.OPTIONS, "SNOWUP", "HIGHER"), (Dialect.LEGACY, "HIGHER", "SNOWUP")):
        with pytest.raises(InputValidationFailed):
            dialect(name).decode_request({"portfolio": 1, "contract_type": [wrong]})
        assert dialect(name).decode_request({"portfolio": 1, "contract_type": [right]})
    with pytest.raises(InputValidationFailed):
        dialect(Dialect.OPTIONS).decode_request({"forget_all": "website_status"})


@pytest.mark.parametrize("text", ["{}", '{"hello": 1}', '{"req_id": 1}', '{"ping": 1, "time": 1}'])
@pytest.mark.parametrize("name", Dialect)
def test_a_frame_that_names_no_single_call_is_not_recognised(name: Dialect, text: str) -> None:
    with pytest.raises(UnrecognisedRequest):
        dialect(name).decode_request(from_json(text))


def test_authorize_is_no_call_of_the_current_dialect() -> None:
    with pytest.raises(UnrecognisedRequest):
        dialect(Dialect.OPTIONS).decode_request({"authorize": "x"})


def test_a_token_is_not_in_a_requests_repr() -> None:
    request = requests.Authorize(authorize="a1-SECRET", tokens=["a1-OTHER"])
    assert "SECRET" not in repr(request)
    assert "OTHER" not in repr(request)


def test_a_token_is_masked_in_the_echo() -> None:
    codec = dialect(Dialect.LEGACY)
    echo = codec.encode_request(requests.Authorize(authorize="a1-SECRET", tokens=["a1-OTHER"]), 3)
    text = to_json(codec.complete(codec.encode_plain(Call.PING, "pong"), echo))
    assert "a1-" not in text
    assert '"authorize":"<not shown>"' in text
    assert '"req_id":3' in text

"""Prices, purchases and sales, as the wire reference says."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from derivfleet.deriv.vocabulary import Dialect

if TYPE_CHECKING:
    from conftest import Harness, MakeHarness

    from derivfleet.deriv.dialects import Frame

BOTH = pytest.mark.parametrize("dialect", Dialect)
SYMBOL_KEY = {Dialect.OPTIONS: "underlying_symbol", Dialect.LEGACY: "symbol"}


def parameters(dialect: Dialect = Dialect.OPTIONS, symbol: str = "1HZ100V", **change: Any) -> Frame:
    usual: Frame = {
        "contract_type": "CALL",
        "currency": "USD",
        "amount": 1,
        "basis": "stake",
        "duration": 5,
        "duration_unit": "t",
        SYMBOL_KEY[dialect]: symbol,
    }
    return {key: value for key, value in (usual | change).items() if value is not None}


def timed(**change: Any) -> Frame:
    return parameters(duration=1, duration_unit="m", **change)


@BOTH
def test_a_proposal_can_be_bought_once_and_only_on_its_socket(harness: Harness, dialect: Dialect) -> None:
    one, other = harness.connect(dialect), harness.connect(dialect)
    offer = harness.one(one, proposal=1, **parameters(dialect))["proposal"]
    assert (offer["ask_price"], offer["payout"]) == (1, Decimal("1.95"))
    assert offer["spot_time"] == harness.now_s
    assert harness.refused(other, buy=offer["id"], price=1) == "InvalidContractProposal"
    receipt = harness.one(one, buy=offer["id"], price=1)["buy"]
    assert (receipt["payout"], receipt["balance_after"]) == (Decimal("1.95"), 9999)
    assert harness.refused(one, buy=offer["id"], price=1) == "InvalidContractProposal"


def test_a_proposals_id_is_dead_after_a_failed_attempt_and_after_its_time(make_harness: MakeHarness) -> None:
    harness = make_harness(proposal_valid_s=10)
    number = harness.connect()
    offer = harness.one(number, proposal=1, **parameters())["proposal"]["id"]
    assert harness.refused(number, buy=offer, price=0) == "ContractCreationFailure"
    assert harness.refused(number, buy=offer, price=1) == "InvalidContractProposal"
    offer = harness.one(number, proposal=1, **parameters())["proposal"]["id"]
    harness.wait(10)
    assert harness.refused(number, buy=offer, price=1) == "InvalidContractProposal"


def test_expired_proposals_do_not_pile_up(make_harness: MakeHarness) -> None:
    harness = make_harness(proposal_valid_s=5)
    number = harness.connect(login=False)
    for _ in range(300):
        harness.one(number, proposal=1, **parameters())
        harness.wait(1)
    assert len(harness.exchange.connections[number].proposals) <= 201


def test_a_price_that_cannot_move_is_not_streamed(harness: Harness) -> None:
    number = harness.connect()
    assert "subscription" not in harness.one(number, proposal=1, subscribe=1, **parameters())
    harness.wait(5)
    assert harness.inbox(number) == []


def test_a_price_that_moves_is_streamed_under_its_own_id_until_it_is_bought(harness: Harness) -> None:
    number = harness.connect()
    first = harness.one(number, proposal=1, subscribe=1, **timed())
    offer = first["proposal"]["id"]
    assert first["subscription"]["id"] == offer
    assert harness.refused(number, proposal=1, subscribe=1, **timed()) == "AlreadySubscribed"
    harness.wait(3)
    frames = harness.inbox(number)
    assert [frame["proposal"]["id"] for frame in frames] == [offer] * 3
    assert [frame["proposal"]["spot_time"] for frame in frames] == [harness.now_s - 2, harness.now_s - 1, harness.now_s]
    harness.one(number, buy=offer, price=1)
    harness.wait(3)
    assert harness.inbox(number) == []


def test_legacy_has_five_streams_of_proposals_a_socket(harness: Harness) -> None:
    number = harness.connect(Dialect.LEGACY)
    asked = [parameters(Dialect.LEGACY, duration=n, duration_unit="m") for n in range(1, 7)]
    for fields in asked[:5]:
        assert "subscription" in harness.one(number, proposal=1, subscribe=1, **fields)
    assert harness.refused(number, proposal=1, subscribe=1, **asked[5]) == "RateLimit"


@BOTH
def test_a_purchase_by_parameters(harness: Harness, dialect: Dialect) -> None:
    number = harness.connect(dialect)
    harness.wait(0.5)
    receipt = harness.one(
        number, buy="1", price=1, parameters=parameters(dialect, "R_100", contract_type="DIGITOVER", barrier="3")
    )["buy"]
    assert receipt["shortcode"] == f"DIGITOVER_R_100_1.64_{harness.now_s}_5T_3_0"
    assert receipt["purchase_time"] == receipt["start_time"] == harness.now_s
    assert (receipt["buy_price"], receipt["payout"], receipt["balance_after"]) == (1, Decimal("1.64"), 9999)
    assert receipt["longcode"] == "Win payout if Volatility 100 Index ends with a digit over 3 after 5 ticks."


def test_two_equal_purchases_are_two_contracts(harness: Harness) -> None:
    number = harness.connect()
    ids = [harness.one(number, buy="1", price=1, parameters=parameters())["buy"]["contract_id"] for _ in range(2)]
    assert ids[0] != ids[1]


@BOTH
@pytest.mark.parametrize(
    ("change", "price", "code"),
    [
        ({"contract_type": "ACCU"}, 1, "OfferingsValidationError"),
        ({"contract_type": "DIGITOVER"}, 1, "BarrierValidationError"),
        ({"duration": 11}, 1, "TicksNumberLimits"),
        ({"duration": 2, "duration_unit": "d"}, 1, "TradingDurationNotAllowed"),
        ({"amount": 0.1}, 1, "ContractBuyValidationError"),
        ({"amount": 1.005}, 2, "IncorrectStakeDecimals"),
        ({"amount": None}, 1, "InvalidAmount"),
        ({"currency": "EUR"}, 1, "NotDefaultCurrency"),
        ({}, 0.99, "ContractCreationFailure"),
        ({"basis": "payout", "amount": 10}, 5, "PriceMoved"),
        ({"contract_type": "SPREAD"}, 1, "InputValidationFailed"),
        ({"extra": 1}, 1, "InputValidationFailed"),
    ],
)
def test_refused_purchases(harness: Harness, dialect: Dialect, change: Frame, price: float, code: str) -> None:
    number = harness.connect(dialect)
    assert harness.refused(number, buy="1", price=price, parameters=parameters(dialect, **change)) == code
    assert harness.one(number, balance=1)["balance"]["balance"] == 10_000
    assert harness.one(number, portfolio=1)["portfolio"]["contracts"] == []


def test_refusals_that_need_no_contract(harness: Harness) -> None:
    number = harness.connect()
    assert harness.refused(number, buy="1", price=1) == "InputValidationFailed"
    assert harness.refused(number, buy="x" * 40, price=1) == "InvalidContractProposal"
    assert harness.refused(number, buy="1", price=1, parameters=parameters(symbol="R_7")) == "InvalidSymbol"
    assert harness.refused(number, proposal=1, **parameters(symbol="R_7")) == "InvalidSymbol"


def test_a_login_without_trade_scope_may_look_but_not_buy(make_harness: MakeHarness) -> None:
    harness = make_harness(scopes=["read"])
    number = harness.connect(Dialect.LEGACY)
    harness.one(number, balance=1)
    asked = parameters(Dialect.LEGACY)
    assert harness.refused(number, buy="1", price=1, parameters=asked) == "PermissionDenied"


@BOTH
def test_a_timed_contract_can_be_sold_back(harness: Harness, dialect: Dialect) -> None:
    number = harness.connect(dialect)
    harness.one(number, proposal_open_contract=1, subscribe=1, req_id=5000)
    asked = parameters(dialect, duration=1, duration_unit="m")
    bought = harness.one(number, buy="1", price=1, parameters=asked)["buy"]
    harness.wait(10)
    harness.inbox(number)
    state = harness.one(number, proposal_open_contract=1, contract_id=bought["contract_id"])["proposal_open_contract"]
    assert state["is_valid_to_sell"] == 1
    sale = harness.one(number, sell=bought["contract_id"], price=0)["sell"]
    assert sale["sold_for"] == Decimal(str(state["bid_price"]))
    assert sale["reference_id"] == bought["transaction_id"]
    assert sale["balance_after"] == 9999 + sale["sold_for"]
    (last,) = harness.inbox(number)
    state = last["proposal_open_contract"]
    assert (state["status"], state["is_sold"], state["is_expired"]) == ("sold", 1, 0)
    assert state["transaction_ids"] == {"buy": bought["transaction_id"], "sell": sale["transaction_id"]}
    assert harness.refused(number, sell=bought["contract_id"], price=0) == "ContractAlreadySold"
    harness.wait(100)
    assert harness.inbox(number) == []
    assert harness.one(number, balance=1)["balance"]["balance"] == sale["balance_after"]


def test_cancel_and_update_say_what_is_wrong(harness: Harness) -> None:
    number = harness.connect()
    bought = harness.one(number, buy="1", price=1, parameters=parameters())["buy"]["contract_id"]
    change = {"limit_order": {"take_profit": 1}}
    assert harness.refused(number, cancel=bought) == "CannotCancelContract"
    assert harness.refused(number, cancel=1) == "ContractNotFound"
    assert harness.refused(number, contract_update=1, contract_id=bought, **change) == "ContractUpdateNotAllowed"
    assert harness.refused(number, contract_update=1, contract_id=1, **change) == "ContractNotFound"


def test_a_purchase_with_no_room_for_its_stream_is_refused_before_it_runs(make_harness: MakeHarness) -> None:
    harness = make_harness(streams_per_connection=1)
    number = harness.connect()
    harness.one(number, ticks="R_10", subscribe=1)
    assert harness.refused(number, buy="1", price=1, parameters=parameters(), subscribe=1) == "RateLimit"
    assert harness.one(number, balance=1)["balance"]["balance"] == 10_000

"""What an error means decides whether something may have been bought."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.deriv.errors import Outcome, outcome_of
from derivfleet.deriv.vocabulary import Call

MONEY = (Call.BUY, Call.SELL, Call.CANCEL, Call.CONTRACT_UPDATE)
READS = tuple(call for call in Call if call not in MONEY)
USUAL = "You have reached the rate limit for buy."


@pytest.mark.parametrize("call", MONEY)
@pytest.mark.parametrize(
    "code",
    ["WrongResponse", "CallError", "InternalServerError", "InternalError", "OutputValidationFailed", "GeneralError"],
)
def test_a_server_failure_proves_nothing_where_money_moves(call: Call, code: str) -> None:
    assert outcome_of(call, code) is Outcome.UNKNOWN


@given(code=st.text(max_size=30), call=st.sampled_from(MONEY))
def test_a_code_that_nobody_listed_is_unknown_where_money_moves(code: str, call: Call) -> None:
    assert outcome_of(call, f"?{code}") is Outcome.UNKNOWN


@given(code=st.text(max_size=30), call=st.sampled_from(READS))
def test_a_read_never_has_an_unknown_outcome(code: str, call: Call) -> None:
    assert outcome_of(call, code).certainly_not_executed


@pytest.mark.parametrize(
    ("call", "code", "message", "outcome"),
    [
        (Call.BUY, "RateLimit", USUAL, Outcome.LATER),
        (Call.BUY, "RateLimit", "Connection closed", Outcome.UNKNOWN),
        (Call.BUY, "InvalidContractProposal", "Unknown contract proposal", Outcome.NOT_EXECUTED),
        (Call.BUY, "PriceMoved", "", Outcome.NOT_EXECUTED),
        (Call.BUY, "InsufficientBalance", "", Outcome.CONFIGURATION),
        (Call.BUY, "InputValidationFailed", "", Outcome.CONFIGURATION),
        (Call.BUY, "OpenPositionLimit", "", Outcome.LATER),
        (Call.BUY, "MarketIsClosed", "", Outcome.LATER),
        (Call.BUY, "7DayTurnoverLimitExceeded", "", Outcome.CONFIGURATION),
        (Call.BUY, "BetExpired", "", Outcome.UNKNOWN),
        (Call.SELL, "ContractAlreadySold", "", Outcome.NOT_EXECUTED),
        (Call.SELL, "ResaleNotOffered", "", Outcome.CONFIGURATION),
        (Call.SELL, "SellAtEntryTick", "", Outcome.LATER),
        (Call.TICKS, "AlreadySubscribed", "", Outcome.NOT_EXECUTED),
        (Call.TICKS, "InvalidSymbol", "", Outcome.CONFIGURATION),
        (Call.STATEMENT, "WrongResponse", "", Outcome.LATER),
        (Call.PROPOSAL, "ContractBuyValidationError", "", Outcome.CONFIGURATION),
        (Call.BALANCE, "AuthorizationRequired", "", Outcome.LATER),
    ],
)
def test_known_codes(call: Call, code: str, message: str, outcome: Outcome) -> None:
    assert outcome_of(call, code, message) is outcome


def test_only_three_outcomes_prove_that_nothing_happened() -> None:
    assert {outcome for outcome in Outcome if not outcome.certainly_not_executed} == {Outcome.EXECUTED, Outcome.UNKNOWN}

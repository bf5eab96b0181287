"""Contracts enter, end and are decided as captures of the real ones say."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.deriv.contracts import Course, Terms, check_terms, course_of, settle, terms_of
from derivfleet.deriv.errors import RequestRefused
from derivfleet.deriv.requests import BuyParameters
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.ticks import quotes
from derivfleet.deriv.vocabulary import Basis, ContractType, DurationUnit

HOUR_S = 1_718_630_400  # a whole hour, so that the captures' last three digits can be read off


def terms(
    kind: ContractType, duration: int = 5, unit: DurationUnit = DurationUnit.TICKS, symbol: str = "R_100", **more: Any
) -> Terms:
    more.setdefault("barrier", "3" if kind.needs_digit else None)
    return Terms(kind, symbol, duration, unit, Decimal(1), **more)


TYPES = st.sampled_from(list(ContractType))


def test_a_ten_tick_digit_contract_counts_its_entry_tick() -> None:
    """Captured: DIGITODD bought at ...544 on a one-second index has ticks ...545 to ...554."""
    course = course_of(terms(ContractType.DIGITODD, 10, symbol="1HZ75V"), HOUR_S + 544)
    assert list(course.tick_epochs) == list(range(HOUR_S + 545, HOUR_S + 555))
    assert (course.exit_s, course.expiry_s) == (HOUR_S + 554, HOUR_S + 554)


def test_a_five_tick_call_exits_five_ticks_after_its_entry() -> None:
    """Captured: bought at :12, entry :13, sold at :18."""
    course = course_of(terms(ContractType.CALL, 5, symbol="1HZ100V"), HOUR_S + 12)
    assert (course.entry_s, course.exit_s) == (HOUR_S + 13, HOUR_S + 18)
    assert len(course.tick_epochs) == 6


def test_the_tick_of_the_purchase_second_is_not_the_entry() -> None:
    """Captured: a CALL bought at even second ...564 on R_100 has its entry tick at ...566."""
    assert course_of(terms(ContractType.CALL), HOUR_S + 564).entry_s == HOUR_S + 566
    assert course_of(terms(ContractType.CALL), HOUR_S + 563).entry_s == HOUR_S + 564


def test_a_one_tick_digit_contract_ends_where_it_enters() -> None:
    course = course_of(terms(ContractType.DIGITEVEN, 1, symbol="1HZ10V"), HOUR_S)
    assert course == Course(HOUR_S, HOUR_S + 1, HOUR_S + 1, HOUR_S + 1, range(HOUR_S + 1, HOUR_S + 2))


@given(
    kind=TYPES,
    symbol=st.sampled_from(sorted(SYMBOLS)),
    duration=st.integers(1, 10),
    purchase_s=st.integers(HOUR_S, HOUR_S + 100),
)
def test_tick_contracts_agree_with_a_walk_over_the_ticks(
    kind: ContractType, symbol: str, duration: int, purchase_s: int
) -> None:
    course = course_of(terms(kind, duration, symbol=symbol), purchase_s)
    later = [epoch for epoch, _ in quotes("1", symbol, purchase_s - 5, purchase_s + 40) if epoch > purchase_s]
    stream = later[: duration if kind.is_digit else duration + 1]
    assert list(course.tick_epochs) == stream
    assert (course.entry_s, course.exit_s) == (stream[0], stream[-1])


@given(seconds=st.integers(15, 120), symbol=st.sampled_from(["R_10", "1HZ10V"]), purchase_s=st.integers(0, 50))
def test_timed_contracts_exit_with_the_last_tick_before_expiry(seconds: int, symbol: str, purchase_s: int) -> None:
    purchase_s += HOUR_S
    course = course_of(terms(ContractType.CALL, seconds, DurationUnit.SECONDS, symbol), purchase_s)
    before = [epoch for epoch, _ in quotes("1", symbol, purchase_s, purchase_s + 200) if epoch <= purchase_s + seconds]
    assert course.exit_s == before[-1]
    assert course.expiry_s == purchase_s + seconds
    assert not course.tick_epochs


def test_minutes_and_hours_are_seconds_too() -> None:
    assert terms(ContractType.CALL, 2, DurationUnit.MINUTES).seconds == 120
    assert terms(ContractType.CALL, 6, DurationUnit.HOURS).seconds == 21_600
    assert terms(ContractType.CALL, 3).seconds == 6


@given(kind=TYPES, entry=st.integers(100, 120), exit_=st.integers(100, 120), digit=st.integers(1, 8))
def test_winners_are_those_of_the_table(kind: ContractType, entry: int, exit_: int, digit: int) -> None:
    rules = {
        "CALL": exit_ > entry,
        "PUT": exit_ < entry,
        "CALLE": exit_ >= entry,
        "PUTE": exit_ <= entry,
        "DIGITMATCH": str(exit_).endswith(str(digit)),
        "DIGITDIFF": not str(exit_).endswith(str(digit)),
        "DIGITOVER": str(exit_)[-1] > str(digit),
        "DIGITUNDER": str(exit_)[-1] < str(digit),
        "DIGITEVEN": str(exit_)[-1] in "02468",
        "DIGITODD": str(exit_)[-1] in "13579",
    }
    contract = replace(terms(kind), barrier=str(digit) if kind.needs_digit else None)
    assert settle(contract, Decimal(entry).scaleb(-2), Decimal(exit_).scaleb(-2)) is rules[kind]


def test_a_contract_without_a_digit_says_so() -> None:
    with pytest.raises(ValueError, match="no digit"):
        assert terms(ContractType.CALL).digit


@pytest.mark.parametrize(
    ("wrong", "code", "field"),
    [
        (terms(ContractType.CALL, symbol="R_7"), "InvalidSymbol", "symbol"),
        (terms(ContractType.CALL, 0), "TicksNumberLimits", "duration"),
        (terms(ContractType.DIGITEVEN, 11), "TicksNumberLimits", "duration"),
        (terms(ContractType.CALL, 14, DurationUnit.SECONDS), "TradingDurationNotAllowed", "duration"),
        (terms(ContractType.CALL, 25, DurationUnit.HOURS), "TradingDurationNotAllowed", "duration"),
        (terms(ContractType.CALL, 1, DurationUnit.DAYS), "TradingDurationNotAllowed", "duration_unit"),
        (terms(ContractType.DIGITODD, 1, DurationUnit.MINUTES), "TradingDurationNotAllowed", "duration_unit"),
        (terms(ContractType.DIGITODD, barrier="3"), "BarrierValidationError", "barrier"),
        (terms(ContractType.DIGITMATCH, barrier=None), "BarrierValidationError", "barrier"),
        (terms(ContractType.DIGITMATCH, barrier="10"), "BarrierValidationError", "barrier"),
        (terms(ContractType.DIGITOVER, barrier="9"), "BarrierValidationError", "barrier"),
        (terms(ContractType.DIGITUNDER, barrier="0"), "BarrierValidationError", "barrier"),
        (terms(ContractType.CALL, barrier="+0.5"), "BarrierValidationError", "barrier"),
        (replace(terms(ContractType.CALL), amount=Decimal("1.005")), "IncorrectStakeDecimals", "amount"),
        (
            replace(terms(ContractType.CALL), amount=Decimal("1.005"), basis=Basis.PAYOUT),
            "IncorrectPayoutDecimals",
            "amount",
        ),
        (replace(terms(ContractType.CALL), amount=Decimal(0)), "InvalidAmount", "amount"),
        (replace(terms(ContractType.CALL), amount=Decimal("NaN")), "InvalidAmount", "amount"),
        (replace(terms(ContractType.CALL), amount=Decimal("Infinity")), "InvalidAmount", "amount"),
    ],
)
def test_what_is_not_offered_is_refused_by_field(wrong: Terms, code: str, field: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        check_terms(wrong)
    assert (caught.value.code, caught.value.details) == (code, {"field": field})


REQUEST = BuyParameters(
    contract_type="CALL",
    currency="USD",
    underlying_symbol="R_100",
    amount=Decimal("1.50"),
    duration=5,
    duration_unit=DurationUnit.TICKS,
    basis=Basis.STAKE,
)


def test_a_request_becomes_terms() -> None:
    assert terms_of(REQUEST) == Terms(ContractType.CALL, "R_100", 5, DurationUnit.TICKS, Decimal("1.50"))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"contract_type": "ACCU"}, "OfferingsValidationError"),
        ({"duration": None}, "OfferingsValidationError"),
        ({"date_expiry": 1_800_000_000}, "OfferingsValidationError"),
        ({"amount": None}, "InvalidAmount"),
        ({"barrier2": "1"}, "BarrierValidationError"),
        ({"duration_unit": None}, "TradingDurationNotAllowed"),  # seconds, and five are too few
    ],
)
def test_a_request_for_something_else_is_refused(change: dict[str, Any], code: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        terms_of(REQUEST.model_copy(update=change))
    assert caught.value.code == code

"""Shortcodes are written as captured ones are, and read without ever failing."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.deriv.categories.registry import category_of, contract_types
from derivfleet.deriv.pricing import Price
from derivfleet.deriv.shortcodes import parse
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.terms import Shortcode, Terms
from derivfleet.deriv.vocabulary import DurationUnit

CAPTURED = {
    "CALL_R_100_19.73_1718630564_1718652164_S0P_0": Shortcode(
        "CALL", "R_100", Decimal("19.73"), 1718630564, None, 1718652164, "S0P"
    ),
    "CALL_1HZ100V_19.53_1695913929_5T_S0P_0": Shortcode(
        "CALL", "1HZ100V", Decimal("19.53"), 1695913929, 5, None, "S0P"
    ),
    "DIGITOVER_1HZ100V_164.51_1710263524_1T_3_0": Shortcode(
        "DIGITOVER", "1HZ100V", Decimal("164.51"), 1710263524, 1, None, "3"
    ),
    "DIGITODD_1HZ75V_3.60_1754939094_1T": Shortcode("DIGITODD", "1HZ75V", Decimal("3.60"), 1754939094, 1, None, None),
}


@pytest.mark.parametrize("text", CAPTURED)
def test_captured_ones_are_read(text: str) -> None:
    assert parse(text) == CAPTURED[text]


@given(
    kind=st.sampled_from(contract_types()),
    symbol=st.sampled_from(sorted(SYMBOLS)),
    duration=st.integers(1, 10),
    payout=st.integers(36, 5_000_000).map(lambda n: Decimal(n).scaleb(-2)),
    digit=st.integers(1, 8),
    timed=st.booleans(),
)
def test_what_is_written_is_what_is_read(
    kind: str, symbol: str, duration: int, payout: Decimal, digit: int, timed: bool
) -> None:
    is_digit = kind.startswith("DIGIT")
    timed = timed and not is_digit
    unit = DurationUnit.MINUTES if timed else DurationUnit.TICKS
    needs_digit = is_digit and kind not in ("DIGITEVEN", "DIGITODD")
    terms = Terms(kind, symbol, duration, unit, Decimal(1), barrier=str(digit) if needs_digit else None)
    category = category_of(kind)
    at = category.timeline(terms, 1_718_630_564)
    found = parse(category.shortcode(terms, Price(Decimal(1), payout), at))
    barrier = terms.barrier or (None if is_digit else "S0P")
    ticks, end_s = (None, at.expiry_s) if timed else (duration, None)
    assert found == Shortcode(kind, symbol, payout, 1_718_630_564, ticks, end_s, barrier)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ACCU_R_100_10.00_0_0.01_1_0.000612552024_1718630993",
        "MULTUP_R_100_10.00_30_1718630940_4872268799_0_0.00_N1",
        "CALL_R_100",
        "CALL_R_100_x_1718630564_5T_S0P_0",
        "CALL_R_100_19.73_1718630564_5T_S0P_0\n",
    ],
)
def test_anything_else_is_none(text: str) -> None:
    assert parse(text) is None


@given(text=st.text())
def test_no_text_breaks_it(text: str) -> None:
    parse(text)
    parse(f"CALL_{text}")


def test_forward_and_fixed_marks_are_ignored() -> None:
    found = parse("CALL_R_100_19.73_1718630564F_1718652164F_S10P_0")
    assert found is not None
    assert (found.start_s, found.expiry_s, found.barrier) == (1718630564, 1718652164, "S10P")

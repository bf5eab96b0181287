"""Prices agree with captures of the live service, to the cent."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from derivfleet.deriv.contracts import Terms
from derivfleet.deriv.errors import RequestRefused
from derivfleet.deriv.pricing import Price, PriceSettings, bid_price, cents, fair_probability, price
from derivfleet.deriv.vocabulary import Basis, ContractType, DurationUnit

CALL_6H = Terms(ContractType.CALL, "R_100", 6, DurationUnit.HOURS, Decimal(10))
EVEN = Terms(ContractType.DIGITEVEN, "R_100", 1, DurationUnit.TICKS, Decimal(10))


def digits(kind: ContractType, barrier: int | None, amount: str = "1") -> Terms:
    text = None if barrier is None else str(barrier)
    return Terms(kind, "1HZ100V", 1, DurationUnit.TICKS, Decimal(amount), barrier=text)


@pytest.mark.parametrize(
    ("terms", "payout"),
    [
        (Terms(ContractType.CALL, "1HZ100V", 5, DurationUnit.TICKS, Decimal("34.23")), "66.87"),
        (Terms(ContractType.CALL, "1HZ100V", 5, DurationUnit.TICKS, Decimal(10)), "19.53"),
        (CALL_6H, "19.73"),
        (digits(ContractType.DIGITOVER, 3, "100.35"), "164.51"),
    ],
)
def test_captured_payouts(terms: Terms, payout: str) -> None:
    assert price(terms) == Price(terms.amount, Decimal(payout))


@pytest.mark.parametrize(
    ("kind", "barrier", "commission", "payout"),
    [
        (ContractType.DIGITMATCH, 5, "0.012", "8.93"),
        (ContractType.DIGITMATCH, 5, "0.010", "9.09"),
        (ContractType.DIGITDIFF, 5, "0.012", "1.10"),
        (ContractType.DIGITEVEN, None, "0.012", "1.95"),
        (ContractType.DIGITODD, None, "0.010", "1.96"),
        (ContractType.DIGITOVER, 2, "0.012", "1.40"),
        (ContractType.DIGITUNDER, 2, "0.010", "4.76"),
        (ContractType.DIGITUNDER, 2, "0.012", "4.72"),
    ],
)
def test_typical_payouts_per_unit(kind: ContractType, barrier: int | None, commission: str, payout: str) -> None:
    settings = PriceSettings(commission_digits=Decimal(commission))
    assert price(digits(kind, barrier), settings).payout == Decimal(payout)


def test_captured_bid_two_minutes_later() -> None:
    assert bid_price(CALL_6H, Decimal("19.73"), 21_600 - 120, Decimal("1184.95"), Decimal("1184.99")) == Decimal("9.52")


def test_captured_loss_of_an_open_even_contract() -> None:
    payout = price(EVEN).payout
    assert bid_price(EVEN, payout, 1) - Decimal(10) == Decimal("-0.39")


def test_markup_lowers_the_payout_as_documented() -> None:
    """Deriv's own example: 17.20 becomes 16.63 at 2 % markup; the stake and probability behind it are not given, so
    they are recovered from the first number.
    """
    stake = Decimal(10)
    share = stake / Decimal("17.20")
    assert abs(stake / (share + Decimal("0.02")) - Decimal("16.63")) < Decimal("0.01")
    plain, marked = (price(EVEN, PriceSettings(markup=Decimal(text))).payout for text in ("0", "0.02"))
    assert marked == cents(stake / (stake / plain + Decimal("0.02")))


@given(
    kind=st.sampled_from(list(ContractType)),
    amount=st.integers(100, 40_000).map(lambda n: Decimal(n).scaleb(-2)),
    ticks=st.integers(1, 10),
)
def test_stake_and_payout_basis_are_each_others_inverse(kind: ContractType, amount: Decimal, ticks: int) -> None:
    terms = Terms(kind, "R_75", ticks, DurationUnit.TICKS, amount, barrier="5" if kind.needs_digit else None)
    by_stake = price(terms)
    by_payout = price(replace(terms, amount=by_stake.payout, basis=Basis.PAYOUT))
    assert by_payout.payout == by_stake.payout
    assert abs(by_payout.ask - by_stake.ask) <= Decimal("0.01")
    assert by_stake.ask < by_stake.payout


@given(spot=st.integers(90_000, 110_000), seconds=st.integers(1, 86_400), payout=st.integers(100, 10_000))
def test_bids_lie_between_nothing_and_the_payout(spot: int, seconds: int, payout: int) -> None:
    strike, amount = Decimal(1000), Decimal(payout).scaleb(-2)
    call, put = (
        bid_price(replace(CALL_6H, contract_type=kind), amount, seconds, Decimal(spot).scaleb(-2), strike)
        for kind in (ContractType.CALL, ContractType.PUT)
    )
    assert 0 <= call <= amount
    assert 0 <= put <= amount
    assume(call > 0)
    assume(put > 0)
    # Both together are worth the payout less two commissions.
    assert abs(call + put - amount * (1 - 2 * Decimal("0.012"))) <= Decimal("0.02")


@pytest.mark.parametrize(
    ("kind", "spot", "chance"),
    [
        (ContractType.CALL, 101, 1),
        (ContractType.CALL, 100, 0),
        (ContractType.CALL, 99, 0),
        (ContractType.PUT, 99, 1),
        (ContractType.PUT, 100, 0),
        (ContractType.CALLE, 100, 1),
        (ContractType.PUTE, 100, 1),
        (ContractType.PUTE, 101, 0),
    ],
)
def test_with_no_time_left_the_spot_decides(kind: ContractType, spot: int, chance: int) -> None:
    terms = replace(CALL_6H, contract_type=kind)
    assert fair_probability(terms, 0, Decimal(spot), Decimal(100)) == chance


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        (digits(ContractType.DIGITEVEN, None, "0.34"), "Minimum stake of 0.35"),
        (digits(ContractType.DIGITMATCH, 1, "49999"), "maximum payout of 50000.00"),
        (digits(ContractType.DIGITMATCH, 1, "1e200"), "maximum payout of 50000.00"),
        (replace(EVEN, amount=Decimal("0.50"), basis=Basis.PAYOUT), "Current stake is 0.26"),
    ],
)
def test_stakes_and_payouts_out_of_bounds_are_refused_in_derivs_words(terms: Terms, words: str) -> None:
    with pytest.raises(RequestRefused, match=words) as caught:
        price(terms)
    assert caught.value.code == "ContractBuyValidationError"
    assert caught.value.details == {"field": "amount"}

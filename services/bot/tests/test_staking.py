"""Flat staking, and amounts as they travel."""

from __future__ import annotations

from decimal import Decimal

import pytest

from derivfleet.bot.staking import FlatStaking, money_text


def test_a_flat_stake_never_changes() -> None:
    plan = FlatStaking(Decimal("0.35"))
    assert [plan.next_stake() for _ in range(3)] == [Decimal("0.35")] * 3


@pytest.mark.parametrize(
    ("amount", "text"), [("0.35", "0.35"), ("1", "1.00"), ("1E+2", "100.00"), ("-0.5", "-0.50"), ("0.0", "0.00")]
)
def test_money_travels_in_plain_digits_with_two_decimals(amount: str, text: str) -> None:
    assert money_text(Decimal(amount)) == text

"""Money as it is shown."""

from __future__ import annotations

from decimal import Decimal

import pytest

from derivfleet.cli.money import amount, money


@pytest.mark.parametrize(("amount", "text"), [("1.5", "+1.50"), ("-0.35", "-0.35"), ("0", "+0.00")])
def test_money_has_a_sign(amount: str, text: str) -> None:
    assert money(Decimal(amount)).plain == text


@pytest.mark.parametrize(
    ("text", "shown"), [("10001.5", "10001.50"), ("7", "7.00"), ("0.12345678", "0.12345678"), ("", "?")]
)
def test_amounts_have_two_decimals_at_least(text: str, shown: str) -> None:
    assert amount(text) == shown

"""JSON numbers and decimals meet without losing a cent."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.deriv.dialects import from_json, json_number, to_json
from derivfleet.deriv.errors import MalformedFrame


@given(number=st.decimals(-(10**10), 10**10, places=4))
def test_a_decimal_crosses_the_wire_unchanged(number: Decimal) -> None:
    assert from_json(json.dumps({"x": json_number(number)}))["x"] == number
    assert from_json(to_json({"x": [number]}))["x"] == [number]


def test_a_decimal_that_no_json_number_says_is_refused() -> None:
    with pytest.raises(ValueError, match="no exact"):
        json_number(Decimal("0.12345678901234567890"))


def test_prices_are_read_as_decimals() -> None:
    assert from_json('{"quote": 1184.90}')["quote"] == Decimal("1184.90")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nope",
        "[]",
        "1",
        '{"a": NaN}',
        '{"a": Infinity}',
        '{"a": 1e999}',
        '{"a": 1e99999999999999999999}',
        '{"a": ' + "9" * 5000 + "}",
        "[" * 100_000,
        b"\xff\xfe\xfd",
        '{"a": {"b": ["\\uD83D"]}}',
        '{"\\udc00": 1}',
        b'{"a": "\\ud83d\\ud83d"}',
    ],
)
def test_what_is_no_json_object_is_malformed(text: str | bytes) -> None:
    with pytest.raises(MalformedFrame):
        from_json(text)


def test_characters_may_be_written_as_numbers() -> None:
    assert from_json('{"a": "\\ud83d\\ude00 \\u00e9 \\\\ud83d"}') == {"a": "😀 é \\ud83d"}


def test_only_json_values_are_written() -> None:
    with pytest.raises(TypeError, match="set"):
        to_json({"x": {1}})

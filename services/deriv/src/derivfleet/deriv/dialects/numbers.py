"""Where JSON numbers and decimals meet.

Frames are read with decimals, so no price is ever a float in our hands. They are written as plain JSON numbers, for
Deriv takes nothing else: a decimal is written through the float whose shortest text is exactly that decimal.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn, cast

from derivfleet.deriv.errors import MalformedFrame

__all__ = ["Frame", "from_json", "json_number", "to_json"]

Frame = dict[str, Any]
"""A JSON object as it goes over the wire."""

_LARGEST_EXPONENT = 300


def json_number(value: Decimal) -> int | float:
    """The JSON number that says exactly this decimal. ValueError if none does (about 16 digits and more)."""
    if value == value.to_integral_value():
        return int(value)
    number = float(value)
    if Decimal(repr(number)) != value:
        raise ValueError(f"{value} has no exact JSON number")
    return number


def _nearest_number(value: object) -> int | float:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def to_json(frame: Frame) -> str:
    """One text frame; decimals become the nearest JSON numbers."""
    return json.dumps(frame, default=_nearest_number, separators=(",", ":"), allow_nan=False)


def _decimal(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{text} is out of range") from None
    if abs(number.adjusted()) > _LARGEST_EXPONENT:
        raise ValueError(f"{text} is out of range")
    return number


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def from_json(text: str | bytes) -> Frame:
    """Read one text frame, numbers with a point as Decimal. MalformedFrame if it is no JSON object."""
    try:
        frame: object = json.loads(text, parse_float=_decimal, parse_constant=_no_constant)
        if "\\u" in str(text):
            # Half of a character, which JSON can name, neither a database nor a message takes.
            json.dumps(frame, default=str, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise MalformedFrame(f"not JSON: {error}") from None
    if not isinstance(frame, dict):
        raise MalformedFrame(f"not a JSON object but {type(frame).__name__}")
    return cast("Frame", frame)

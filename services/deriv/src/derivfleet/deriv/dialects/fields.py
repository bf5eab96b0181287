"""Reading one field at a time out of an answer, with a typed error that names it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, cast

from derivfleet.deriv.errors import MalformedAnswer

if TYPE_CHECKING:
    from derivfleet.deriv.dialects.numbers import Frame

__all__ = ["SYMBOL_NAMES", "Fields", "payload", "stream_id_of"]

SYMBOL_NAMES = ("underlying_symbol", "symbol", "underlying")
"""All keys that a symbol goes by, in one dialect or another."""
LARGEST_EXPONENT = 300
"""A short text such as 1e99999999 is a number that takes minutes to write out."""
LARGEST_INTEGER = 2**63 - 1
"""Ids and times are whole numbers of 64 bits at most, on the wire to bots as in the journal."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one object in an answer. Every reader raises MalformedAnswer on a wrong type.

    Absent and null are the same: Deriv sends null for what it does not know.
    """

    place: str
    values: Frame

    def _complain(self, name: str, problem: str) -> MalformedAnswer:
        return MalformedAnswer(f"{self.place}.{name} {problem}")

    def number_or_none(self, name: str) -> Decimal | None:
        """A number, or a string that holds one."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
            raise self._complain(name, f"is no number but {type(value).__name__}")
        try:
            number = Decimal(str(value))
        except InvalidOperation:
            raise self._complain(name, f"is no number: {value!r:.40}") from None
        if not number.is_finite():
            raise self._complain(name, "is not finite")
        if abs(number.adjusted()) > LARGEST_EXPONENT:
            raise self._complain(name, "is out of range")
        return number

    def number(self, name: str) -> Decimal:
        """As number_or_none, but required."""
        number = self.number_or_none(name)
        if number is None:
            raise self._complain(name, "is missing")
        return number

    def integer_or_none(self, name: str) -> int | None:
        """A whole number of at most 64 bits, however it is written."""
        number = self.number_or_none(name)
        if number is None:
            return None
        if abs(number) > LARGEST_INTEGER:
            raise self._complain(name, "is out of range")
        if number != number.to_integral_value():
            raise self._complain(name, f"is not whole: {number}")
        return int(number)

    def integer(self, name: str) -> int:
        """As integer_or_none, but required."""
        number = self.integer_or_none(name)
        if number is None:
            raise self._complain(name, "is missing")
        return number

    def text_or_none(self, name: str) -> str | None:
        """A string; a number is taken as its text, for older servers send some ids so."""
        value = self.values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            raise self._complain(name, f"is no text but {type(value).__name__}")
        return str(value)

    def text(self, name: str) -> str:
        """As text_or_none, but required."""
        text = self.text_or_none(name)
        if text is None:
            raise self._complain(name, "is missing")
        return text

    def flag(self, name: str) -> bool:
        """1 or true. Absent is false."""
        value = self.values.get(name)
        if value not in (None, 0, 1):
            raise self._complain(name, f"is neither 0 nor 1: {value!r:.40}")
        return bool(value)

    def child(self, name: str) -> Fields:
        """A nested object; empty if absent."""
        value = self.values.get(name)
        if value is None:
            return Fields(f"{self.place}.{name}", {})
        if not isinstance(value, dict):
            raise self._complain(name, f"is no object but {type(value).__name__}")
        return Fields(f"{self.place}.{name}", cast("Frame", value))

    def items(self, name: str) -> list[object]:
        """A nested list; empty if absent."""
        value = self.values.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._complain(name, f"is no list but {type(value).__name__}")
        return cast("list[object]", value)

    def rows(self, name: str) -> list[Fields]:
        """A nested list of objects; empty if absent."""
        place = f"{self.place}.{name}"
        found: list[Fields] = []
        for item in self.items(name):
            if not isinstance(item, dict):
                raise self._complain(name, f"holds {type(item).__name__}, not objects")
            found.append(Fields(place, cast("Frame", item)))
        return found

    def first_of(self, *names: str) -> str:
        """The first of these names that is present (dialects rename fields); the first one if none is."""
        return next((name for name in names if self.values.get(name) is not None), names[0])


def payload(frame: Frame, name: str) -> Fields:
    """The object under a key of a frame. MalformedAnswer if it is absent."""
    if not isinstance(frame.get(name), dict):
        raise MalformedAnswer(f"{name} is missing or no object (msg_type {str(frame.get('msg_type'))!r:.40})")
    return Fields("answer", frame).child(name)


def stream_id_of(frame: Frame) -> str | None:
    """``subscription.id`` of a frame."""
    return Fields("answer", frame).child("subscription").text_or_none("id")

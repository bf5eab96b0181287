"""What an experiment has found, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Never, TypeVar

__all__ = ["Confidence", "Finding", "unknown"]

T_co = TypeVar("T_co", covariant=True)


class Confidence(StrEnum):
    """How a value is known."""

    MEASURED = "measured"
    """Everything else that was thought of contradicts what was seen."""
    CONSISTENT = "consistent with"
    """What was seen fits these values, and others may fit as well."""
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Finding(Generic[T_co]):
    """The values that remain possible, likeliest first; none if nothing was learned. ``because`` is for people."""

    confidence: Confidence
    values: tuple[T_co, ...]
    because: str

    @property
    def value(self) -> T_co | None:
        """The one value that was measured; None if there is none, or more than one."""
        return self.values[0] if self.confidence is Confidence.MEASURED else None


def unknown(because: str) -> Finding[Never]:
    """Nothing was learned."""
    return Finding(Confidence.NOT_MEASURED, (), because)

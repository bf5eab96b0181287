"""How long Deriv takes to answer, by kind of call."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Latency", "latencies_of", "quantile"]


@dataclass(frozen=True, slots=True)
class Latency:
    """Wall milliseconds from sending to answer of one kind of call."""

    call: str
    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float


def quantile(values: Sequence[float], part: float) -> float:
    """The smallest of the values that at least this part of them does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, ceil(part * len(ordered) - 1e-9) - 1)]


def latencies_of(samples_ms: Mapping[str, Sequence[float]]) -> tuple[Latency, ...]:
    """A row for each kind of call that was answered, by name."""
    return tuple(
        Latency(call, len(values), *(quantile(values, part) for part in (0.5, 0.9, 0.99)))
        for call, values in sorted(samples_ms.items())
        if values
    )

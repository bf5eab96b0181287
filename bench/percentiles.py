"""What part of many values lies below which of them."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["percentile"]


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest of the values that at least this part of them do not exceed (nearest rank); 0 of none."""
    return sorted(values)[max(0, ceil(part * len(values)) - 1)] if values else 0.0

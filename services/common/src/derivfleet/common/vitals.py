"""What a process holds on to, for those who watch it for days.

With ``DERIVFLEET_VITALS_WALL_S=10`` every service logs its counts every ten seconds of the wall. Off by default, for
counting every object stops everything for a moment.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from typing import TYPE_CHECKING

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["VITALS_VARIABLE", "Vitals", "every_wall_s", "tell"]

VITALS_VARIABLE = "DERIVFLEET_VITALS_WALL_S"


class Vitals:
    """Counts of things that come and go, by name. A service adds its own to the one of its telemetry."""

    def __init__(self) -> None:
        self._more: list[Callable[[], Mapping[str, int]]] = []

    def add(self, more: Callable[[], Mapping[str, int]]) -> None:
        """Count these too."""
        self._more.append(more)

    def look(self) -> dict[str, int]:
        """All counts. ``objects``: those that the collector of garbage knows, but for what was there at the start."""
        counts = {
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "objects": len(gc.get_objects()),
        }
        for more in self._more:
            counts |= more()
        return counts


def every_wall_s(environment: Mapping[str, str] = os.environ) -> float:
    """How often to tell, from the environment; 0 for never. Raises ConfigurationError."""
    text = environment.get(VITALS_VARIABLE, "0")
    try:
        every_s = float(text)
    except ValueError:
        every_s = -1.0
    if not 0 <= every_s <= 86_400:  # noqa: PLR2004 - a day
        raise ConfigurationError(VITALS_VARIABLE, f"must be a number of seconds from 0 to 86400, not {text!r}")
    return every_s


async def tell(vitals: Vitals, every_s: float) -> None:
    """Log the counts for ever."""
    while True:
        await asyncio.sleep(every_s)
        get_logger().info("vitals", **vitals.look())

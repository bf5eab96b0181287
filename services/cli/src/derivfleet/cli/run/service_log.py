"""The log of a service: what it said last, for whoever must know why it ended."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["last_line"]

_TAIL_BYTES = 8192


def last_line(log: Path) -> str:
    """What a service said last: its last plain line if there is one (configuration errors are), else its last event."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    plain = [line for line in lines if not line.startswith("{")]
    if plain:
        return plain[-1]
    return _event_of(lines[-1]) if lines else "(nothing)"


def _event_of(line: str) -> str:
    """A structured log line as people say it."""
    try:
        facts = json.loads(line)
    except ValueError:
        return line
    event = facts.pop("event", "?")
    said = ", ".join(f"{key} {value}" for key, value in facts.items() if key not in ("time_ns", "service", "level"))
    return f"{event} ({said})" if said else str(event)

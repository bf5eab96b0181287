"""What the fleet file should say after a probe."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import floor
from typing import TYPE_CHECKING, Any

from derivfleet.deriv.limits import LEAST_CONNECTIONS
from derivfleet.probe.core.bounds import Experiment

if TYPE_CHECKING:
    from derivfleet.probe.core.notebook import Notebook

__all__ = ["Advice", "advise"]

MINUTE_S = 60
FULL_HEADROOM = 1.0
SURELY_PART = 0.8
"""Of the fastest answer that was seen: so long every answer takes, for it is the way that takes it."""


@dataclass(frozen=True, slots=True)
class Advice:
    """``limits`` of an account as the fleet file takes them, and in a sentence each why."""

    limits: dict[str, Any] = field(default_factory=dict[str, Any])
    reasons: tuple[str, ...] = ()


def advise(notebook: Notebook, fastest_ms: float | None = None) -> Advice:
    """Settings that what was measured supports; what was not measured is left as it is.

    ``fastest_ms``: how long the fastest answer of all took.
    """
    limits: dict[str, Any] = {}
    reasons: list[str] = []
    if Experiment.WINDOW in notebook.chosen:
        objection = _objection(notebook)
        if objection:
            reasons.append(f"headroom stays as it is: {objection}")
        else:
            limits["headroom"] = FULL_HEADROOM
            if fastest_ms is not None:
                limits["fastest_answer_ms"] = floor(fastest_ms * SURELY_PART)
            reasons.append(
                f"headroom 1.0: {notebook.bucket.name} admit what is published, "
                "and the gateway's own count stays within this kind of window"
            )
        if (calls := notebook.window.limit.value) is not None:
            limits["windows"] = {notebook.bucket.name: {MINUTE_S: calls}}
    if (streams := notebook.streams.value) is not None:
        limits["streams_per_connection"] = streams
    if (sockets := notebook.connections.value) is not None:
        if sockets >= LEAST_CONNECTIONS:
            limits["connections"] = sockets
        else:
            reasons.append(f"sockets: {sockets} is too few, the gateway needs {LEAST_CONNECTIONS}")
    return Advice(limits, tuple(reasons))


def _objection(notebook: Notebook) -> str:
    """Why the published limits should not be used to the last call; empty if they may be."""
    window, name = notebook.window, notebook.bucket.name
    published = notebook.bucket.windows[MINUTE_S]
    if window.kind.value is None or window.limit.value is None:
        return "the window was not found out"
    if window.limit.value < published:
        return f"{name} admit {window.limit.value} a minute, not {published}"
    if window.is_shared.value is not True:
        return "it was not seen that all sockets of the account count together"
    if notebook.surprises:
        return f"{notebook.surprises} calls were refused where the published limits had room"
    if notebook.troubles:
        return f"{', '.join(notebook.troubles)} went wrong"
    return ""

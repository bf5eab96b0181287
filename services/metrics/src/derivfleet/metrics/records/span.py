"""A span as it is kept: as far as sums need it, and wholly for people. Plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["SpanRecord", "SpanRow"]


class SpanRow(NamedTuple):
    """A received span as far as figures need it; a tuple, for there are twenty thousand in a second.

    ``weight``: how many spans it stands for, where its sender keeps only a sample. ``parent`` and ``key`` are the last
    eight bytes of the trace id and the span id.
    """

    name: str
    account: str
    bot: str
    order_id: str
    call: str
    bucket: str
    state: str
    error_code: str
    rate_refused: bool
    start_ns: int
    end_ns: int
    weight: int
    key: bytes
    parent: bytes
    stake: str
    profit: str


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """One span for people. Ids are hex digits; what is asked for stands apart, other attributes are one JSON object."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    service: str
    start_ns: int
    end_ns: int
    account: str
    bot: str
    order_id: str
    call: str
    bucket: str
    state: str
    error_code: str
    rate_refused: bool
    attributes: str

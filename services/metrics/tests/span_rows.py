"""Spans for tests of what they add up to."""

from __future__ import annotations

from hypothesis import strategies as st

from derivfleet.common.spans import SpanName
from derivfleet.metrics.records.span import SpanRow
from derivfleet.metrics.sums.span_aggregates import MinuteAggregates
from derivfleet.metrics.sums.time_levels import HOUR_S

__all__ = ["BOTS", "NOTHING_ELSE", "START_NS", "aggregates_of", "span_rows"]

BOTS = ("over-4", "trend-75")
START_NS = 1_795_161_600 * 10**9
NOTHING_ELSE = SpanRow("", "demo", "over-4", "", "", "", "", "", False, 0, 0, 1, b"", b"", "", "")

span_rows = st.builds(
    NOTHING_ELSE._replace,
    name=st.sampled_from([*SpanName, "a.stranger"]),
    bot=st.sampled_from(["", "gateway", *BOTS, "newcomer"]),
    start_ns=st.integers(START_NS - 10**10, START_NS),
    end_ns=st.integers(START_NS, START_NS + 2 * HOUR_S * 10**9),
    call=st.sampled_from(["", "buy", "proposal_open_contract", "ping", "unheard_of"]),
    bucket=st.sampled_from(["trade", "trade/3600s", "cap/buy"]),
    error_code=st.sampled_from(["", "RateLimit", "QUOTA_DEADLINE"]),
    rate_refused=st.booleans(),
    weight=st.sampled_from([1, 1, 1, 4]),
)


def aggregates_of(rows: list[SpanRow]) -> MinuteAggregates:
    aggregates = MinuteAggregates()
    for row in rows:
        aggregates.add(row, START_NS + 2 * HOUR_S * 10**9)
    return aggregates

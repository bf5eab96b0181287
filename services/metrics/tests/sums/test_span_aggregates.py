"""Sums of sums: pieces of time against the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from span_rows import NOTHING_ELSE, aggregates_of, span_rows

from derivfleet.common.spans import SpanName
from derivfleet.metrics.sums.span_aggregates import SpanAggregate
from derivfleet.metrics.sums.time_levels import HOUR_S, MINUTE_S, WINDOW_S

if TYPE_CHECKING:
    import random

    from derivfleet.metrics.records.span import SpanRow


@given(st.lists(span_rows, max_size=60), st.randoms(use_true_random=False))
def test_short_pieces_add_up_to_long_ones_in_any_order(rows: list[SpanRow], shuffle: random.Random) -> None:
    whole = {(start_s, bot): aggregate.body() for start_s, _, bot, aggregate in aggregates_of(rows).rolled_up(HOUR_S)}
    for level_s in (MINUTE_S, WINDOW_S):
        parts: dict[tuple[int, str], SpanAggregate] = {}
        found = list(aggregates_of(rows).rolled_up(level_s))
        shuffle.shuffle(found)
        for start_s, _, bot, aggregate in found:
            stored = SpanAggregate.of(aggregate.body())
            parts.setdefault((start_s - start_s % HOUR_S, bot), SpanAggregate()).add(stored)
        assert {key: aggregate.body() for key, aggregate in parts.items()} == whole


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="invented buckets use up the names that calls need")
def test_calls_keep_their_names_however_many_buckets_somebody_invents() -> None:
    waits = [NOTHING_ELSE._replace(name=SpanName.QUOTA_WAIT, bucket=f"x{number}") for number in range(250)]
    buys = [NOTHING_ELSE._replace(name=SpanName.DERIV_CALL, call="buy")] * 40
    assert aggregates_of([*waits, *buys]).at("demo", "over-4", 0).named("call ") == {"buy": 40}

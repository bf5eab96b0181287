from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.probe.core.latencies import latencies_of, quantile


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_the_first_value_that_enough_others_do_not_exceed(values: list[float], part: float) -> None:
    found = quantile(values, part)
    assert found in values
    assert sum(value <= found for value in values) >= part * len(values) - 1e-6
    assert sum(value < found for value in values) < part * len(values)


def test_a_row_for_each_kind_that_was_answered() -> None:
    rows = latencies_of({"time": [3.0, 1.0, 2.0], "balance": [7.0], "sell": []})
    assert [(row.call, row.count, row.p50_ms, row.p99_ms) for row in rows] == [
        ("balance", 1, 7.0, 7.0),
        ("time", 3, 2.0, 3.0),
    ]
    assert rows[1].p90_ms == pytest.approx(3.0)

"""Quantiles against the sorted values themselves."""

from __future__ import annotations

from collections import Counter
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from derivfleet.metrics.sums.latency_sketch import RELATIVE_ERROR, bin_of, quantile, value_of


@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=300), st.sampled_from([1, 50, 95, 99, 100]))
def test_a_quantile_is_within_the_stated_error_of_the_value_of_its_rank(values: list[int], percent: int) -> None:
    true = sorted(values)[max(0, ceil(percent * len(values) / 100) - 1)]
    found = quantile(Counter(map(bin_of, values)), percent)
    assert abs(found - true) <= true * RELATIVE_ERROR * (1 + 1e-9)


@given(st.integers(0, 2**63 - 1))
def test_a_bin_is_near_what_it_holds(value: int) -> None:
    assert abs(value_of(bin_of(value)) - value) <= value * RELATIVE_ERROR * (1 + 1e-9)

"""What the long watch makes of its samples: growth told from noise, and time in which a bot could not trade."""

from __future__ import annotations

import json
import random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.soak.downtime import down_spans, joined, length
from tests.soak.trend import POINTS, trend_of

S = 10**9
VALUES = st.lists(st.integers(-1000, 1000).map(float), min_size=8, max_size=POINTS)


@given(VALUES)
def test_growth_is_the_median_of_all_slopes_over_the_length(values: list[float]) -> None:
    times = [float(at) for at in range(len(values))]
    slopes = [
        (values[later] - values[earlier]) / (later - earlier)
        for later in range(len(values))
        for earlier in range(later)
    ]
    trend = trend_of(times, values)
    assert trend.growth == pytest.approx(median(slopes) * (len(values) - 1))
    assert trend.growth_low <= trend.growth <= trend.growth_high


def _noisy(slope: float, samples: int = 400) -> tuple[list[float], list[float]]:
    chance = random.Random(4)  # noqa: S311 - noise
    values = [100 + slope * at + chance.gauss(0, 3) + (50 if at % 37 == 0 else 0) for at in range(samples)]
    return [float(at) for at in range(samples)], values


def test_noise_with_outliers_is_no_leak_and_a_tenth_in_it_is_one() -> None:
    assert not trend_of(*_noisy(0.0)).is_leak(0.05, 4.0)
    growing = trend_of(*_noisy(10 / 400))
    assert growing.is_leak(0.05, 4.0)
    assert growing.growth == pytest.approx(10, abs=2)
    assert not growing.is_leak(0.05, 20.0)


def test_of_few_samples_nothing_is_claimed() -> None:
    assert not trend_of([0.0, 1.0, 2.0], [1.0, 100.0, 10_000.0]).is_leak(0.05, 1.0)
    assert not trend_of([], []).is_leak(0.05, 1.0)


def line(at_s: int, event: str, **facts: str) -> str:
    return json.dumps({"event": event, "time_ns": at_s * S, **facts})


def test_a_bot_is_down_without_ticks_news_or_symbols_but_not_before_it_has_begun() -> None:
    lines = [
        line(1, "gateway not there yet, retrying", stream="orders"),
        line(5, "gateway is there", stream="orders"),
        line(10, "decided"),
        "not a line of ours",
        line(20, "stream cut, retrying", stream="ticks"),
        line(21, "stream cut, retrying", stream="orders"),
        line(23, "gateway is there", stream="ticks"),
        line(25, "gateway is there", stream="orders"),
        line(40, "symbols held", symbols=""),
        line(42, "symbols held", symbols="R_100"),
        line(50, "bot ended"),
        line(53, "decided"),
        line(90, "stream cut, retrying", stream="ticks"),
    ]
    spans = down_spans(lines, 100 * S)
    assert spans == [(20 * S, 25 * S), (40 * S, 42 * S), (50 * S, 53 * S), (90 * S, 100 * S)]
    assert length(spans) == 20 * S


def test_a_bot_that_never_decides_is_starting() -> None:
    assert down_spans([line(1, "gateway not there yet, retrying", stream="orders")], 100 * S) == []


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12))
def test_joined_spans_cover_the_same_instants_once(spans: list[tuple[int, int]]) -> None:
    covered = {at for start, end in spans for at in range(start, end)}
    found = joined(spans)
    assert {at for start, end in found for at in range(start, end)} == covered
    assert length(found) == len(covered)

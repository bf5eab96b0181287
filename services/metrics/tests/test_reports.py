from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.metrics.reports import MOST_PERIOD_S, FieldError, Period, period_of

NOW_S = 1_795_161_723.5


def test_the_running_period_is_the_five_minutes_of_the_clock() -> None:
    assert period_of(0, 0, NOW_S) == Period(1_795_161_600, 1_795_161_900)


@given(st.integers(1, int(NOW_S)), st.integers(1, MOST_PERIOD_S))
def test_a_period_contains_its_time_and_tiles_the_past(at_s: int, length_s: int) -> None:
    period = period_of(at_s, length_s, NOW_S)
    assert period.start_s <= at_s < period.end_s
    assert period.length_s == length_s
    assert period.start_s % length_s == 0
    if period.end_s <= NOW_S:
        assert period_of(period.end_s, length_s, NOW_S).start_s == period.end_s


def test_an_asker_whose_clock_is_a_little_ahead_is_answered() -> None:
    assert period_of(int(NOW_S) + 2, 0, NOW_S) == period_of(0, 0, NOW_S)


@pytest.mark.parametrize(
    ("at_s", "length_s", "field"),
    [
        (-1, 0, "at_epoch_s"),
        (int(NOW_S) + 301, 0, "at_epoch_s"),
        (0, -1, "period_s"),
        (0, MOST_PERIOD_S + 1, "period_s"),
    ],
)
def test_a_period_that_cannot_be_names_its_field(at_s: int, length_s: int, field: str) -> None:
    with pytest.raises(FieldError) as error:
        period_of(at_s, length_s, NOW_S)
    assert error.value.field == field
    assert str(error.value).startswith(f"{field}: must be")

"""The options of a report as a request."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.cli.reports.request import epoch_of, period_of, period_over, request_of
from derivfleet.common.errors import ConfigurationError
from derivfleet.v1 import reports_pb2

DAY_S = 86_400


def test_options_become_one_request() -> None:
    assert request_of(day="yesterday", compare=True) == reports_pb2.GetReportRequest(kind="day", back=1, compare=True)
    assert request_of(day="2026-11-20") == reports_pb2.GetReportRequest(kind="day", date="2026-11-20")
    assert request_of(hour="last") == reports_pb2.GetReportRequest(kind="hour", back=1)
    assert request_of(hour="2026-11-21T09") == reports_pb2.GetReportRequest(kind="hour", at_epoch_s=1_795_251_600)
    assert request_of() == reports_pb2.GetReportRequest()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"day": "someday"}, "--day"),
        ({"hour": "noon"}, "--hour"),
        ({"day": "today", "hour": "now"}, "--day"),
        ({"day": "today", "at": "5"}, "--at"),
        ({"period": "90s"}, "--period"),
    ],
)
def test_options_that_do_not_go_together_are_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        request_of(**options)
    assert error.value.key == named


@pytest.mark.parametrize(
    ("text", "epoch_s"),
    [
        ("", 0),
        ("1795253700", 1_795_253_700),
        ("2026-11-21T09:35", 1_795_253_700),
        ("2026-11-21T09:35:00Z", 1_795_253_700),
        ("2026-11-21T10:35+01:00", 1_795_253_700),
    ],
)
def test_times_are_utc_unless_they_say_otherwise(text: str, epoch_s: int) -> None:
    assert epoch_of(text) == epoch_s


@pytest.mark.parametrize(
    ("text", "seconds"), [("", 0), ("300", 300), ("120s", 120), ("5m", 300), ("1h", 3600), ("1d", 86400)]
)
def test_periods_carry_a_unit(text: str, seconds: int) -> None:
    assert period_of(text) == seconds


def test_a_period_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--period"):
        period_of("0m")


@given(st.integers(1_700_000_000, 1_900_000_000), st.integers(0, DAY_S // 2))
def test_the_period_asked_for_holds_the_whole_run(start_s: int, length_s: int) -> None:
    period_s = period_over(start_s, start_s + length_s)
    begins_s = start_s - start_s % period_s
    assert 300 <= period_s <= DAY_S
    assert begins_s <= start_s <= start_s + length_s < begins_s + period_s


def test_a_run_of_more_than_a_day_is_summed_up_over_its_last_day() -> None:
    assert period_over(1_795_161_600, 1_795_161_600 + 2 * DAY_S) == DAY_S

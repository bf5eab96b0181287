from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.metrics.reports.periods import (
    MOST_PERIOD_S,
    FieldError,
    Kind,
    Period,
    aligned,
    day_before,
    period_at,
    within,
)

NOW_S = 1_795_161_723.5
BERLIN = ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]).map(
    ZoneInfo
)
TIMES_S = st.integers(86_400 * 400, int(NOW_S))


def epoch_s(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def test_the_running_period_is_the_five_minutes_of_the_clock() -> None:
    assert aligned(within(0, NOW_S), 0) == Period(1_795_161_600, 1_795_161_900, Kind.WINDOW)


@given(st.integers(1, int(NOW_S)), st.integers(1, MOST_PERIOD_S // 60))
def test_a_period_contains_its_time_and_tiles_the_past(at_s: int, minutes: int) -> None:
    period = aligned(at_s, minutes * 60)
    assert period.start_s <= at_s < period.end_s
    assert period.length_s == minutes * 60
    assert period.start_s % (minutes * 60) == 0
    assert aligned(period.end_s, minutes * 60).start_s == period.end_s


def test_an_asker_whose_clock_is_a_little_ahead_is_answered() -> None:
    assert within(int(NOW_S) + 2, NOW_S) == int(NOW_S) + 2


@pytest.mark.parametrize("at_s", [-1, int(NOW_S) + 301])
def test_a_time_that_cannot_be_names_its_field(at_s: int) -> None:
    with pytest.raises(FieldError, match="at_epoch_s: must be"):
        within(at_s, NOW_S)


@pytest.mark.parametrize("length_s", [-60, 90, MOST_PERIOD_S + 60])
def test_a_length_that_cannot_be_names_its_field(length_s: int) -> None:
    with pytest.raises(FieldError, match="period_s: must be") as error:
        aligned(5, length_s)
    assert error.value.field == "period_s"


@given(TIMES_S, ZONES, st.sampled_from(Kind))
def test_periods_of_a_kind_meet_and_hold_their_time(at_s: int, zone: ZoneInfo, kind: Kind) -> None:
    period = period_at(kind, at_s, zone)
    assert period.start_s <= at_s < period.end_s
    assert period_at(kind, at_s, zone, 1).end_s == period.start_s
    assert period_at(kind, period.end_s, zone).start_s == period.end_s
    if kind is Kind.DAY:
        assert datetime.fromtimestamp(period.start_s, zone).strftime("%H:%M") == "00:00"
        assert datetime.fromtimestamp(period.start_s, zone).date() == datetime.fromtimestamp(at_s, zone).date()


@given(TIMES_S, ZONES)
def test_a_day_has_as_many_hours_as_its_zone_says(at_s: int, zone: ZoneInfo) -> None:
    day = period_at(Kind.DAY, at_s, zone)
    named = {datetime.fromtimestamp(second, zone).date() for second in range(day.start_s, day.end_s, 1_800)}
    assert len(named) == 1
    assert day.length_s in {82_800, 84_600, 86_400, 88_200, 90_000}


@pytest.mark.parametrize(("noon", "hours"), [("2026-03-29T12:00+02:00", 23), ("2026-10-25T12:00+01:00", 25)])
def test_the_days_on_which_the_clocks_change_in_berlin(noon: str, hours: int) -> None:
    day = period_at(Kind.DAY, epoch_s(noon), BERLIN)
    assert day.length_s == hours * 3600
    before = day_before(day, BERLIN)
    assert (before.end_s, before.length_s) == (day.start_s, 86_400)
    nine = period_at(Kind.HOUR, epoch_s(noon) - 3 * 3600, BERLIN)
    assert nine.start_s - day_before(nine, BERLIN).start_s == hours * 3600
    assert datetime.fromtimestamp(day_before(nine, BERLIN).start_s, BERLIN).hour == 9


@given(st.dates(date(2000, 1, 2), date(2026, 1, 1)), st.integers(1, 300))
def test_days_back_are_dates_back(day: date, back: int) -> None:
    at_s = int(datetime(day.year, day.month, day.day, 15, tzinfo=UTC).timestamp())
    found = period_at(Kind.DAY, at_s, ZoneInfo("UTC"), back)
    assert datetime.fromtimestamp(found.start_s, UTC).date() == day - timedelta(days=back)


@pytest.mark.parametrize("kind", Kind)
def test_before_1970_there_is_nothing(kind: Kind) -> None:
    with pytest.raises(FieldError, match="back: goes back before 1970"):
        period_at(kind, int(NOW_S), BERLIN, 10_000_000)


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="hours begin at whole hours of UTC, whatever the zone")
@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Australia/Adelaide"])
def test_an_hour_begins_at_a_whole_hour_of_the_zones_clock(zone: str) -> None:
    at_s = int(datetime(2026, 12, 1, 9, 40, tzinfo=ZoneInfo(zone)).timestamp())
    hour = period_at(Kind.HOUR, at_s, ZoneInfo(zone))
    shown = [datetime.fromtimestamp(one, ZoneInfo(zone)).strftime("%H:%M") for one in (hour.start_s, hour.end_s)]
    assert shown == ["09:00", "10:00"]

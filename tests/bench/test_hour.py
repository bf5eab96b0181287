"""The hour and its clock."""

from __future__ import annotations

import pytest

from bench.speedup.hour import MARKET_HOUR, Hour

WALL_NS = 1_795_161_600_123_456_789


@pytest.mark.parametrize("speed", [2.0, 15.0, 17.5, 60.0])
def test_the_fleet_clock_shows_the_market_hour_at_the_chosen_instant(speed: float) -> None:
    hour = Hour.beginning_at(WALL_NS, speed, 60)
    shown_ns = hour.origin_ns + round((WALL_NS - hour.origin_ns) * speed)
    assert shown_ns == pytest.approx(MARKET_HOUR.timestamp() * 1e9, abs=10_000)
    assert hour.end_ns - hour.start_ns == 3600 * 10**9


def test_at_the_walls_speed_the_hour_is_the_walls() -> None:
    assert Hour.beginning_at(WALL_NS, 1.0, 5).start_ns == WALL_NS


def test_its_seconds_are_those_from_its_start_to_before_its_end() -> None:
    hour = Hour(speed=10, start_ns=1000 * 10**9, minutes=1, origin_ns=0)
    assert [second for second in (999, 1000, 1059, 1060) if hour.has_second(second)] == [1000, 1059]

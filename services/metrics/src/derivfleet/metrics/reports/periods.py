"""Which period a report is about: aligned lengths, and hours and days as the fleet's time zone has them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from derivfleet.metrics.sums.time_levels import HOUR_S, MINUTE_S, WINDOW_S

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

__all__ = ["MOST_PERIOD_S", "FieldError", "Kind", "Period", "aligned", "day_before", "noon_of", "period_at", "within"]

MOST_PERIOD_S = 86_400
_SKEW_S = 300
"""The asker's clock may be ahead of ours, and a fast clock multiplies the difference."""


class FieldError(ValueError):
    """A request that cannot be answered; ``field`` names what is wrong with it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class Kind(StrEnum):
    """Periods that become final."""

    WINDOW = "window"
    HOUR = "hour"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Period:
    """A span of fleet time: UTC seconds since 1970, the end exclusive. ``kind`` is None for any other length."""

    start_s: int
    end_s: int
    kind: Kind | None = None

    @property
    def length_s(self) -> int:
        return self.end_s - self.start_s


def within(at_epoch_s: int, now_s: float) -> int:
    """A time that was asked for, 0 meaning now. Raises FieldError."""
    if not 0 <= at_epoch_s <= now_s + _SKEW_S:
        raise FieldError("at_epoch_s", f"must be a time between 1970 and now ({int(now_s)}), not {at_epoch_s}")
    return at_epoch_s or int(now_s)


def aligned(at_s: int, period_s: int) -> Period:
    """The period of a length that contains an instant; they are aligned to 1970. 0 means five minutes.

    Raises FieldError.
    """
    length_s = period_s or WINDOW_S
    if not 0 < length_s <= MOST_PERIOD_S or length_s % MINUTE_S:
        raise FieldError("period_s", f"must be whole minutes, at most {MOST_PERIOD_S} seconds, not {period_s}")
    start_s = at_s - at_s % length_s
    return Period(start_s, start_s + length_s, Kind.WINDOW if length_s == WINDOW_S else None)


def period_at(kind: Kind, at_s: int, zone: ZoneInfo, back: int = 0) -> Period:
    """The period of a kind that contains an instant, or one that many before it.

    A day lasts from midnight to midnight of the zone, so 23 or 25 hours where the clocks change. Days are stepped back
    by date, so a day and the one before it always meet. Raises FieldError.
    """
    if kind is not Kind.DAY:
        length_s = WINDOW_S if kind is Kind.WINDOW else HOUR_S
        start_s = at_s - at_s % length_s - back * length_s
        if start_s < 0:
            raise FieldError("back", "goes back before 1970")
        return Period(start_s, start_s + length_s, kind)
    date = datetime.fromtimestamp(at_s, zone).date()
    if back > date.toordinal() - datetime(1970, 1, 2, tzinfo=UTC).toordinal():
        raise FieldError("back", "goes back before 1970")
    date -= timedelta(days=back)
    return Period(_midnight_s(date.toordinal(), zone), _midnight_s(date.toordinal() + 1, zone), kind)


def _midnight_s(ordinal: int, zone: ZoneInfo) -> int:
    """When a date begins; where the clocks jump over midnight, that is the first instant after the jump."""
    # Python reads a time that the clocks skip with the offset before the jump, which is that very instant.
    return int(datetime.fromordinal(ordinal).replace(tzinfo=zone).timestamp())


def noon_of(date: str, zone: ZoneInfo) -> int:
    """The middle of a date like 2026-11-21. Raises FieldError."""
    try:
        midnight = datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=zone)
    except ValueError:
        raise FieldError("date", f"must be like 2026-11-21, not {date!r}") from None
    return int(midnight.replace(hour=12).timestamp())


def day_before(period: Period, zone: ZoneInfo) -> Period:
    """The same period one day earlier: by the zone's clock, so that nine o'clock is compared with nine o'clock."""
    if period.kind is Kind.DAY:
        return period_at(Kind.DAY, period.start_s, zone, 1)
    local = datetime.fromtimestamp(period.start_s, zone)
    start_s = int((local.replace(tzinfo=None) - timedelta(days=1)).replace(tzinfo=zone, fold=local.fold).timestamp())
    start_s -= start_s % MINUTE_S
    return Period(start_s, start_s + period.length_s, period.kind)

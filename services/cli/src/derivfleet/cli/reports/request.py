"""Which report is asked for: the options of ``derivfleet report`` as a request."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from derivfleet.common.errors import ConfigurationError
from derivfleet.v1 import reports_pb2

__all__ = ["epoch_of", "not_in_the_future", "period_of", "period_over", "request_of"]

_MOST_S = 86_400
_LEAST_S = 60
_SHORTEST_KEPT_S = 300
_PERIOD = re.compile(r"(\d+)([smhd]?)")
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def epoch_of(text: str) -> int:
    """A time as epoch seconds: digits, or ISO 8601 (UTC unless it says otherwise); 0 for an empty text.

    Raises ConfigurationError.
    """
    if not text or text.isdigit():
        return int(text or 0)
    return _time_of("--at", text, f"like 2026-11-21T09:35 or epoch seconds, not {text!r}")


def period_of(text: str) -> int:
    """A length of time in seconds: 300, 300s, 5m, 1h, 1d; 0 for an empty text. Raises ConfigurationError."""
    if not text:
        return 0
    match = _PERIOD.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise ConfigurationError("--period", f"must be like 5m, 1h, 1d or 300, not {text!r}")
    seconds = int(match[1]) * _UNITS_S[match[2]]
    if seconds > _MOST_S:
        raise ConfigurationError("--period", f"must be at most a day, not {text!r}")
    if seconds % _LEAST_S:
        raise ConfigurationError("--period", f"must be whole minutes, not {text!r}")
    return seconds


def request_of(
    at: str = "", period: str = "", hour: str = "", day: str = "", compare: bool = False
) -> reports_pb2.GetReportRequest:
    """What the options ask for. Raises ConfigurationError."""
    if sum(map(bool, (period, hour, day))) > 1:
        raise ConfigurationError("--day", "goes without --hour and --period")
    if at and (hour or day):
        raise ConfigurationError("--at", "goes with --period; --hour and --day name their own time")
    request = reports_pb2.GetReportRequest(at_epoch_s=epoch_of(at), period_s=period_of(period), compare=compare)
    named = {"now": 0, "last": 1} if hour else {"today": 0, "yesterday": 1}
    if hour or day:
        request.kind = "hour" if hour else "day"
        when = hour or day
        if when in named:
            request.back = named[when]
        elif hour:
            request.at_epoch_s = _time_of("--hour", hour, "now, last or a time like 2026-11-21T09")
        else:
            request.date = _date_of(day)
    return request


def _date_of(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ConfigurationError("--day", "must be today, yesterday or a date like 2026-11-21") from None


def _time_of(option: str, text: str, like: str) -> int:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(option, f"must be {like}") from None
    return int((time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp())


def not_in_the_future(request: reports_pb2.GetReportRequest, now_s: float) -> reports_pb2.GetReportRequest:
    """The same request, if its time has come by the fleet's clock; raises ConfigurationError if not."""
    if request.at_epoch_s > now_s:
        option = "--hour" if request.kind == "hour" else "--at"
        now = datetime.fromtimestamp(now_s, UTC)
        raise ConfigurationError(option, f"must not be in the future; the fleet's clock says {now:%Y-%m-%dT%H:%M:%S}")
    return request


def period_over(start_s: int, end_s: int) -> int:
    """The shortest aligned period (in seconds, whole minutes) that holds both instants; a day if none does.

    Periods begin at multiples of their length since 1970, so two instants can lie on two sides of a border.
    """
    least_s = (end_s - start_s) // 60 * 60 + 60
    for length_s in range(max(_SHORTEST_KEPT_S, least_s), _MOST_S, 60):
        if start_s // length_s == end_s // length_s:
            return length_s
    return _MOST_S

"""How much of Deriv's limits was used: which bucket a call counts in, and what a period lets through."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from derivfleet.deriv.limits import LEGACY_LIMITS, OPTIONS_LIMITS
from derivfleet.deriv.vocabulary import Call, Dialect
from derivfleet.metrics.records.gateway_status import QuotaWindow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from derivfleet.deriv.limits import LimitsTable
    from derivfleet.metrics.records.gateway_status import StatusSample

__all__ = ["Limits", "QuotaUse", "limits_of", "quota_use_of"]

_TABLES: dict[str, LimitsTable] = {Dialect.OPTIONS: OPTIONS_LIMITS, Dialect.LEGACY: LEGACY_LIMITS}


@dataclass(frozen=True, slots=True)
class Limits:
    """What Deriv allows one account: its windows, and the table that says which bucket counts a call."""

    table: LimitsTable
    windows: tuple[QuotaWindow, ...]

    def bucket_of(self, call: str) -> str:
        """The bucket of a call; empty if Deriv does not count it."""
        try:
            bucket = self.table.bucket_of(Call(call))
        except ValueError:
            return self.table.default
        return bucket.name if bucket else ""

    def allowed(self, bucket: str, period_s: int) -> int:
        """The most calls that the bucket's linked windows let through in a period that begins with fresh windows.

        0 if nothing is known of the bucket.
        """
        limits = {window.window_s: window.deriv_limit for window in self.windows if window.bucket == bucket}
        known = sorted((window_s, limit) for window_s, limit in limits.items() if window_s > 0 and limit > 0)
        return _allowed(known, period_s) if known else 0


def _allowed(windows: Sequence[tuple[int, int]], period_s: int) -> int:
    """``windows`` are (length in seconds, limit), shortest first: a long one admits what the shorter ones in it do."""
    *shorter, (window_s, limit) = windows
    whole, rest_s = divmod(period_s, window_s)

    def admitted(seconds: int) -> int:
        return min(limit, _allowed(shorter, seconds)) if shorter else limit

    return whole * admitted(window_s) + (admitted(rest_s) if rest_s else 0)


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """Calls of one bucket; ``share_of_limit`` is 1 when all that Deriv allows in such a period was used."""

    bucket: str
    calls: int
    share_of_limit: float


def limits_of(sample: StatusSample | None) -> Limits | None:
    """The limits of an account by what its gateway last said of it; None while it has said nothing.

    The gateway's own knowledge of Deriv's limits wins over the published table, which fills in what it does not name.
    """
    table = _TABLES.get(sample.dialect) if sample else None
    if sample is None or table is None:
        return None
    told = {window.bucket for window in sample.windows}
    published = tuple(
        QuotaWindow(bucket.name, window_s, 0, limit, limit)
        for bucket in table.buckets.values()
        if bucket.name not in told
        for window_s, limit in bucket.windows.items()
    )
    return Limits(table, sample.windows + published)


def quota_use_of(calls: Mapping[str, int], period_s: int, limits: Limits | None) -> tuple[QuotaUse, ...]:
    """Sum up the calls that went to Deriv in a period (how often, by name), one line a bucket.

    No line while the limits are not known.
    """
    if limits is None:
        return ()
    counted: Counter[str] = Counter()
    for call, count in calls.items():
        counted[limits.bucket_of(call)] += count
    result: list[QuotaUse] = []
    for bucket in dict.fromkeys(window.bucket for window in limits.windows):
        allowed = limits.allowed(bucket, period_s)
        result.append(QuotaUse(bucket, counted[bucket], counted[bucket] / allowed if allowed else 0.0))
    return tuple(result)

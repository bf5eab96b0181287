"""What one snapshot of the page is made of: plain values, put together by whoever has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from derivfleet.common.fleet import Fleet
    from derivfleet.metrics.alerts.alert_table import Alert
    from derivfleet.metrics.records.gateway_status import QuotaNow, StatusSample
    from derivfleet.metrics.records.order import OrderRecord
    from derivfleet.metrics.reports.figures import Figures
    from derivfleet.metrics.store.order_table import UnknownOrders
    from derivfleet.metrics.web.limit_usage import LimitUsage
    from derivfleet.metrics.web.profit_curve import ProfitCurve

__all__ = ["FeedView", "ReplicationView", "View"]


@dataclass(frozen=True, slots=True)
class FeedView:
    """How well the order feed and the receiver of traces do."""

    connected: bool
    problem: str
    lag_s: float
    events_refused: int
    spans_refused: int
    spans_deferred: int


@dataclass(frozen=True, slots=True)
class ReplicationView:
    """How far the copy at Supabase is behind: entries that wait, the age of the oldest, rows that it will never take.

    ``problem`` is why copying does not go on, as a code.
    """

    behind_rows: int
    behind_s: float
    refused_rows: int
    problem: str


@dataclass(frozen=True, slots=True)
class View:
    """Everything that one snapshot is made of. ``figures`` are those of the last ``window_s`` seconds.

    ``every_wall_s``: how soon the next one is due, so that the page knows when to worry.
    """

    now_ns: int
    speed: float
    fleet: Fleet
    account: str
    window_s: int
    figures: Figures
    fleet_curve: ProfitCurve
    bot_curves: Mapping[str, ProfitCurve]
    usage: LimitUsage
    every_wall_s: float
    kept_alerts: Sequence[Alert]
    orders: Sequence[OrderRecord]
    open_orders: Mapping[str, int]
    status: StatusSample | None
    quota: QuotaNow | None
    feed: FeedView
    copy: ReplicationView | None = None
    """None if there is none to be."""
    unknown_orders: Mapping[str, UnknownOrders] = field(default_factory=dict[str, "UnknownOrders"])

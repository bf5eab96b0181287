from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.store.feed_mark import FeedMark
from derivfleet.metrics.web.dashboard_state import DashboardState

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.common.clock import ManualClock
    from derivfleet.metrics.records.order import OrderRecord
    from derivfleet.metrics.store.store import Store

    MakeOrder = Callable[..., OrderRecord]


async def test_settlements_are_taken_in_once_and_leave_when_they_are_out_of_reach(
    store: Store, clock: ManualClock, make_order: MakeOrder
) -> None:
    now_ns = clock.now_ns()
    dashboard = DashboardState(store, clock, "demo", reach_s=3_600)
    await store.keep_orders(
        [
            make_order(1, "long ago", "9.00", settled_ns=now_ns - 3_601 * NS_PER_S),
            make_order(2, "a", "1.50", settled_ns=now_ns - 1_800 * NS_PER_S),
            make_order(3, "b", "-0.35", settled_ns=now_ns, bot="trend-75"),
        ],
        FeedMark(3),
    )
    await dashboard.refresh()
    await dashboard.refresh()
    assert dashboard.fleet.total().profit == Decimal("1.15")
    assert {bot: curve.total().settled for bot, curve in dashboard.bots.items()} == {"over-4": 1, "trend-75": 1}
    await store.keep_orders([make_order(4, "c", "0.20", settled_ns=now_ns)], FeedMark(4))
    await clock.advance(1_900)
    await dashboard.refresh()
    assert dashboard.fleet.total().profit == Decimal("-0.15")
    assert dashboard.bots["over-4"].total().profit == Decimal("0.20")


async def test_a_long_past_is_read_in_pieces(store: Store, clock: ManualClock, make_order: MakeOrder) -> None:
    orders = [make_order(number, f"o{number}", "0.01", settled_ns=clock.now_ns()) for number in range(1, 5_003)]
    await store.keep_orders(orders, FeedMark(5_002))
    dashboard = DashboardState(store, clock, "demo", reach_s=3_600)
    await dashboard.refresh()
    assert dashboard.fleet.total().profit == Decimal("50.02")

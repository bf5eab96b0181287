"""One period against the one before it, with the same sums made one by one as the oracle."""

from __future__ import annotations

from decimal import Decimal
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.store.feed_mark import FeedMark
from derivfleet.metrics.web.profit_by_period import PERIODS, SlotSum, profit_by_period_json, slot_sums

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.metrics.records.order import OrderRecord
    from derivfleet.metrics.store.store import Store

    MakeOrder = Callable[..., OrderRecord]

START_S = 1_795_161_600
CENTS = st.integers(-500, 500).map(lambda cents: Decimal(cents) / 100)
TRADES = st.lists(st.tuples(st.integers(-15 * 3600, 2 * 3600), CENTS), max_size=60)


@given(TRADES, st.lists(st.sampled_from([3600, 1800, 5400]), min_size=2, max_size=PERIODS))
@settings(deadline=None)
def test_courses_and_rows_are_the_sums_of_their_trades(trades: list[tuple[int, Decimal]], lengths: list[int]) -> None:
    begin_s = START_S - sum(lengths[:-1])
    edges_s = list(accumulate(lengths, initial=begin_s))
    periods = list(pairwise(edges_s))
    sums = [SlotSum((START_S + at) // 12, 1, int(profit > 0), profit) for at, profit in trades]
    told = profit_by_period_json(sums, periods, 12)
    assert [(one["start_s"], one["end_s"]) for one in told["periods"]] == periods
    for one in told["periods"]:
        own = [profit for at, profit in trades if one["start_s"] <= START_S + at < one["end_s"]]
        assert Decimal(one["profit"]) == sum(own, Decimal(0))
        assert (one["settled"], one["wins"]) == (len(own), sum(profit > 0 for profit in own))
    for name, (start_s, end_s) in (("course", periods[-1]), ("before", periods[-2])):
        for offset_s, profit in told[name]:
            assert 0 < offset_s <= end_s - start_s
            until_s = start_s + offset_s
            assert Decimal(profit) == sum((one for at, one in trades if start_s <= START_S + at < until_s), Decimal(0))


async def test_sums_come_from_the_settlements_of_the_account(store: Store, make_order: MakeOrder) -> None:
    at_ns = START_S * NS_PER_S
    await store.keep_orders(
        [
            make_order(1, "a", "0.10", settled_ns=at_ns),
            make_order(2, "b", "0.10", settled_ns=at_ns + NS_PER_S),
            make_order(3, "c", "-0.35", settled_ns=at_ns + 11 * NS_PER_S, bot="trend-75"),
            make_order(4, "late", "9.00", settled_ns=at_ns + 12 * NS_PER_S),
            make_order(5, "other", "9.00", settled_ns=at_ns, account="other"),
        ],
        FeedMark(5),
    )
    found = await store.read(lambda connection: slot_sums(connection, "demo", START_S, START_S + 12, 12))
    assert sorted(found, key=lambda one: one.profit) == [
        SlotSum(START_S // 12, 1, 0, Decimal("-0.35")),
        SlotSum(START_S // 12, 2, 2, Decimal("0.20")),
    ]

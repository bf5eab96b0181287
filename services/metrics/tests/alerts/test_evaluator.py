"""The loop over the rules on virtual time, with the real store and real measurements."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from derivfleet.common.clock import NS_PER_S, ManualClock
from derivfleet.common.fleet import Fleet
from derivfleet.common.order_state import OrderState
from derivfleet.common.rpc.channel import open_channel
from derivfleet.metrics.alerts.alert_table import next_notice
from derivfleet.metrics.alerts.evaluator import Evaluator
from derivfleet.metrics.alerts.measurements import Measurements
from derivfleet.metrics.ingest.order_feed import OrderFeed
from derivfleet.metrics.records.gateway_status import BotsSeen
from derivfleet.metrics.reports.reports import Reports
from derivfleet.metrics.store.feed_mark import FeedMark

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.metrics.records.order import OrderRecord
    from derivfleet.metrics.store.store import Store

    MakeOrder = Callable[..., OrderRecord]

BOTS = """
- {name: over-4, strategy: digit_frequency, symbols: [1HZ100V]}
- {name: trend, strategy: moving_average, symbols: [R_75]}
"""


class FastClock(ManualClock):
    """Thirty seconds of the fleet in one of the wall."""

    def fleet_s(self, wall_seconds: float) -> float:
        return wall_seconds * 30


class Watched:
    """A fleet with rules on virtual time; what its evaluator tells is in the store's notices."""

    def __init__(self, store: Store, clock: ManualClock, *rules: dict[str, Any]) -> None:
        self.store = store
        self.clock = clock
        self.seen: dict[str, BotsSeen] = {}
        self.fleet = Fleet.model_validate(
            {"fleet": "test", "accounts": [{"key": "demo"}], "bots": yaml.safe_load(BOTS), "alerts": {"rules": rules}}
        )
        self.start()

    def start(self) -> None:
        """As after a restart: nothing is remembered but what the store keeps."""
        channel = open_channel("127.0.0.1:1")
        feed = OrderFeed(channel, None, self.store, self.clock, FeedMark())  # pyright: ignore[reportArgumentType] - it is never run
        reports = Reports(self.store, feed, self.clock, self.fleet)
        measurements = Measurements(self.store, reports, feed, self.clock, self.fleet, "demo", self.seen)
        self.evaluator = Evaluator(self.store, measurements, self.clock, self.fleet, ["webhook"])

    async def told(self) -> list[str]:
        """The texts that wait, oldest first."""

        def ask(connection: Any) -> list[str]:
            return [text for (text,) in connection.execute("SELECT text FROM notices ORDER BY id")]

        return await self.store.read(ask)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_795_161_600)


def now(clock: ManualClock) -> dict[str, int]:
    return {"settled_ns": clock.now_ns(), "bought_ns": clock.now_ns(), "changed_ns": clock.now_ns()}


async def test_an_unknown_order_fires_once_and_clears_once(
    store: Store, clock: ManualClock, make_order: MakeOrder
) -> None:
    watched = Watched(store, clock, {"name": "lost", "when": "unknown_orders", "for_s": 30, "clear_for_s": 60})
    await store.keep_orders([make_order(1, "a", state=OrderState.UNKNOWN, settled_ns=0)], FeedMark(1, 1))
    await watched.evaluator.evaluate()
    assert await watched.told() == []
    await clock.advance(30)
    for _ in range(5):
        await watched.evaluator.evaluate()
        watched.start()
    assert await watched.told() == ["[test] FIRING lost over-4: 1 order unknown (threshold 0)"]
    board = await watched.evaluator.overview()
    assert [(one.rule, one.bot, one.value) for one in board.firing] == [("lost", "over-4", Decimal(1))]

    await store.keep_orders([make_order(2, "a")], FeedMark(2, 2))
    await watched.evaluator.evaluate()
    await clock.advance(59)
    await watched.evaluator.evaluate()
    assert len(await watched.told()) == 1
    await clock.advance(1)
    for _ in range(3):
        await watched.evaluator.evaluate()
        watched.start()
    assert (await watched.told())[1:] == ["[test] CLEARED lost over-4 after 1 min 0 s: 0 orders unknown (threshold 0)"]
    assert (await watched.evaluator.overview()).firing == ()


async def test_silence_holds_the_news_back_until_it_ends(
    store: Store, clock: ManualClock, make_order: MakeOrder
) -> None:
    watched = Watched(store, clock, {"name": "deep", "when": "drawdown", "threshold": 1.5, "window_s": 3600})
    kept = await watched.evaluator.silence("deep", "over-4", 600, "known")
    await store.keep_orders([make_order(n, f"o{n}", "-1", **now(clock)) for n in (1, 2)], FeedMark(2, 2))
    await watched.evaluator.evaluate()
    assert (await watched.evaluator.overview()).silences == (kept,)
    assert [one.value for one in (await watched.evaluator.overview()).firing] == [Decimal(2)]
    assert await watched.told() == []
    await clock.advance(601)
    await watched.evaluator.evaluate()
    assert await watched.told() == ["[test] FIRING deep over-4: 2 below the highest profit (threshold 1.5)"]
    assert await watched.evaluator.end_silences("deep", "over-4") == 0


async def test_a_rule_that_is_gone_ends_its_alerts(store: Store, clock: ManualClock, make_order: MakeOrder) -> None:
    watched = Watched(store, clock, {"name": "fall", "when": "fleet_drawdown", "threshold": 1})
    orders = [make_order(1, "a", "-2", **now(clock)), make_order(2, "b", "-1", bot="trend", **now(clock))]
    await store.keep_orders(orders, FeedMark(2, 2))
    await watched.evaluator.evaluate()
    assert await watched.told() == ["[test] FIRING fall: 3 below the highest profit (threshold 1)"]
    await clock.advance(5)
    without = Watched(store, clock)
    await without.evaluator.evaluate()
    await without.evaluator.evaluate()
    assert (await without.told())[1:] == ["[test] CLEARED fall after 5 s: 3 below the highest profit (threshold 1)"]
    assert (await without.evaluator.overview()).firing == ()


async def test_a_bot_is_down_when_the_gateway_has_not_heard_of_it(store: Store, clock: ManualClock) -> None:
    watched = Watched(store, clock, {"name": "down", "when": "bot_down", "threshold": 60, "bots": ["trend"]})
    await watched.evaluator.evaluate()
    start_ns = clock.now_ns()
    watched.seen["demo"] = BotsSeen(
        start_ns, start_ns - 3600 * NS_PER_S, {"over-4": 0, "trend": start_ns - 60 * NS_PER_S}
    )
    await watched.evaluator.evaluate()
    assert await watched.told() == []
    watched.seen["demo"] = BotsSeen(
        start_ns, start_ns - 3600 * NS_PER_S, {"over-4": 0, "trend": start_ns - 61 * NS_PER_S}
    )
    await watched.evaluator.evaluate()
    assert await watched.told() == ["[test] FIRING down trend: 61 s without a sign of life (threshold 60)"]
    # A gateway that tells nothing proves nothing of its bots.
    await clock.advance(120)
    await watched.evaluator.evaluate()
    assert [one.rule for one in (await watched.evaluator.overview()).firing] == ["down"]


@pytest.mark.parametrize(("age_s", "fires"), [(61, True), (60, False)])
async def test_a_bot_that_never_came_is_down_once_it_had_the_time(
    store: Store, clock: ManualClock, age_s: int, *, fires: bool
) -> None:
    watched = Watched(store, clock, {"name": "down", "when": "bot_down", "bots": ["trend"]})
    now_ns = clock.now_ns()
    watched.seen["demo"] = BotsSeen(now_ns, now_ns - age_s * NS_PER_S, {"trend": 0})
    await watched.evaluator.evaluate()
    assert bool(await watched.told()) is fires


async def test_a_bot_that_starts_is_not_down_however_fast_the_clock_runs(store: Store) -> None:
    # Two seconds of the wall, which is what a process needs to start.
    fast = FastClock()
    watched = Watched(store, fast, {"name": "down", "when": "bot_down", "bots": ["trend"]})
    now_ns = fast.now_ns()
    watched.seen["demo"] = BotsSeen(now_ns, now_ns - 61 * NS_PER_S, {"trend": 0})
    await watched.evaluator.evaluate()
    assert await watched.told() == []
    watched.seen["demo"] = BotsSeen(now_ns, now_ns - 901 * NS_PER_S, {"trend": 0})
    await watched.evaluator.evaluate()
    assert await watched.told() == ["[test] FIRING down trend: 901 s without a sign of life (threshold 60)"]


async def test_minutes_without_a_trade_are_counted_from_the_last_purchase(
    store: Store, clock: ManualClock, make_order: MakeOrder
) -> None:
    watched = Watched(store, clock, {"name": "idle", "when": "no_trades", "threshold": 10, "bots": ["over-4"]})
    await clock.advance(60)
    await store.keep_orders([make_order(1, "a", **now(clock))], FeedMark(1, 1))
    await clock.advance(600)
    await watched.evaluator.evaluate()
    assert await watched.told() == []
    await clock.advance(30)
    await watched.evaluator.evaluate()
    assert await watched.told() == ["[test] FIRING idle over-4: 10.5 minutes without a purchase (threshold 10)"]


async def test_failed_calls_make_a_rate_once_there_are_enough(
    store: Store, clock: ManualClock, make_span: Callable[..., Any], make_export: Callable[..., Any]
) -> None:
    watched = Watched(
        store, clock, {"name": "errors", "when": "error_rate", "threshold": 0.4, "least_calls": 4, "window_s": 300}
    )
    spans = [
        make_span(n, "gateway.buy", end_ns=clock.now_ns(), start_ns=clock.now_ns(), error_code="X" if n < 3 else "")
        for n in (1, 2, 3)
    ]
    await store.keep_spans([make_export(spans)], clock.now_ns())
    await watched.evaluator.evaluate()
    assert await watched.told() == []
    fourth = make_span(4, "gateway.buy", end_ns=clock.now_ns(), start_ns=clock.now_ns())
    await store.keep_spans([make_export([fourth])], clock.now_ns())
    await watched.evaluator.evaluate()
    assert await watched.told() == ["[test] FIRING errors over-4: 50.0% of calls failed (threshold 40.0%)"]


async def test_a_cut_feed_makes_reports_incomplete_and_the_gateway_down(store: Store, clock: ManualClock) -> None:
    watched = Watched(
        store, clock, {"name": "gateway", "when": "gateway_down"}, {"name": "holes", "when": "report_incomplete"}
    )
    await clock.advance(29)
    await watched.evaluator.evaluate()
    # It has only just started: not to have found the gateway yet proves nothing.
    assert await watched.told() == []
    await clock.advance(2)
    await watched.evaluator.evaluate()
    (text,) = await watched.told()
    assert text.splitlines() == [
        "[test] FIRING gateway: 31 s behind the gateway (threshold 30)",
        "[test] FIRING holes: 100.0% of orders without a trace (threshold 1.0%)",
    ]
    notice = await store.read(lambda connection: next_notice(connection, "webhook"))
    assert notice is not None
    assert notice.text == text

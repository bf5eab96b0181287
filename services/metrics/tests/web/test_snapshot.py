from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
import yaml

from derivfleet.common.clock import NS_PER_S
from derivfleet.common.fleet import Fleet
from derivfleet.common.spans import SpanName
from derivfleet.metrics.records.gateway_status import quota_now, samples_of
from derivfleet.metrics.reports.figures import figures_of
from derivfleet.metrics.sums.profit_and_loss import BOT, Settlement, profit_and_loss_of
from derivfleet.metrics.sums.span_aggregates import ERROR, OPERATION, SpanAggregate
from derivfleet.metrics.web.limit_usage import LimitUsage
from derivfleet.metrics.web.profit_curve import ProfitCurve
from derivfleet.metrics.web.snapshot import order_json, snapshot
from derivfleet.metrics.web.view import FeedView, View
from derivfleet.v1 import control_pb2, quota_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.metrics.records.order import OrderRecord
    from derivfleet.v1.control_pb2 import GetStatusResponse

    MakeOrder = Callable[..., OrderRecord]
    MakeStatus = Callable[..., GetStatusResponse]

NOW_S = 1_795_161_723.5
FLEET = Fleet.model_validate(
    yaml.safe_load("""
fleet: test
accounts: [{key: demo}]
bots:
  - {name: over-4, strategy: digit_frequency, symbols: [1HZ100V]}
  - {name: trend-75, strategy: moving_average, symbols: [R_75]}
""")
)


@pytest.fixture
def view(make_order: MakeOrder, make_status: MakeStatus) -> View:
    curve = ProfitCurve(8, 86_400)
    curve.add(int(NOW_S), Decimal("0.33"))
    usage = LimitUsage(3_600)
    usage.add(round((NOW_S - 3) * NS_PER_S), {"trade": 0.25, "money": 0.0})
    aggregate = SpanAggregate(counts={OPERATION + SpanName.GATEWAY_BUY: 1, ERROR + "QUOTA_DEADLINE": 1})
    pnl = profit_and_loss_of([Settlement("over-4", "R_100", Decimal("0.33"), Decimal("0.35"), traced=False)], 1, [])
    return View(
        now_ns=round(NOW_S * NS_PER_S),
        speed=60.0,
        fleet=FLEET,
        account="demo",
        window_s=300,
        figures=figures_of(
            {"over-4": aggregate}, {("fleet", ""): pnl, (BOT, "over-4"): pnl}, 300, ["over-4", "trend-75"], None
        ),
        fleet_curve=curve,
        bot_curves={"over-4": curve},
        usage=usage,
        every_wall_s=1.0,
        kept_alerts=[],
        orders=[make_order(1, "a")],
        open_orders={"over-4": 2, "gone": 1},
        status=samples_of(make_status(NOW_S - 3, rejected=4))[0],
        quota=quota_now(
            make_status(
                calls_saved=[quota_pb2.CallsSaved(kind="ticks", calls=9)],
                breaker=control_pb2.CircuitBreakerStatus(
                    state="half_open", since_time_ns=2 * NS_PER_S, reason="5 failures"
                ),
            )
        )["demo"],
        feed=FeedView(connected=True, problem="", lag_s=0.0, events_refused=0, spans_refused=2, spans_deferred=0),
    )


def test_a_snapshot_is_json_with_money_as_text(view: View) -> None:
    told = json.loads(json.dumps(snapshot(view)))
    assert told["total"] == {
        "since_s": int(NOW_S),
        "settled": 1,
        "wins": 1,
        "win_rate": 1.0,
        "profit": "0.33",
        "open": 3,
        "unknown": 0,
        "doubtful": 0,
    }
    assert told["account"]["balance"] == "10012.34"
    assert told["gateway"]["rejected_by_deriv"] == 4
    assert told["gateway"]["status_age_s"] == 3.0
    assert told["completeness"]["profit_untraced"] == "0.33"
    assert told["completeness"]["spans_refused"] == 2
    over, trend = told["bots"]
    assert (over["strategy"], over["symbols"], over["open"]) == ("digit_frequency", ["1HZ100V"], 2)
    assert over["recent"]["errors"] == [{"code": "QUOTA_DEADLINE", "count": 1}]
    assert (trend["curve"], trend["total"]["win_rate"], trend["total"]["profit"]) == ([], None, "0")


def test_reserves_loans_savings_and_the_breaker_are_shown(view: View) -> None:
    told = json.loads(json.dumps(snapshot(view)))["gateway"]
    assert [(one["window_s"], one["used"], one["reserved"], one["limit"]) for one in told["quota"]] == [
        (60, 120, 34, 342),
        (3600, 3_000, 0, 13_680),
    ]
    assert told["shares"] == [
        {
            "bot": "over-4",
            "bucket": "trade",
            "window_s": 60,
            "share": 154,
            "used": 163,
            "borrowed": 9,
            "lent": 0,
            "waiting": 0,
        }
    ]
    assert told["savings"] == [{"kind": "ticks", "calls": 9}]
    assert told["breaker"] == {"state": "half_open", "since_s": 2.0, "reason": "5 failures", "retry_s": None}
    assert told["calls_sent"] == 420


def test_the_curve_does_not_run_ahead_of_the_clock(view: View) -> None:
    assert snapshot(view)["curve"] == [[NOW_S, "0.33"]]


def test_before_the_gateway_spoke_nothing_is_made_up(view: View) -> None:
    told = snapshot(replace(view, status=None, quota=None, fleet_curve=ProfitCurve(8, 60), orders=[], open_orders={}))
    assert told["account"] == {
        "key": "demo",
        "login_id": "",
        "currency": "",
        "balance": "",
        "is_demo": None,
        "dialect": "",
    }
    assert told["gateway"]["rejected_by_deriv"] is None
    assert told["gateway"]["status_age_s"] is None
    assert told["total"]["since_s"] is None
    assert (told["gateway"]["shares"], told["gateway"]["savings"], told["gateway"]["breaker"]) == ([], [], None)


def test_an_order_that_is_open_has_no_profit(make_order: MakeOrder) -> None:
    told = order_json(replace(make_order(1, "a"), profit=None, sell_price=None, settled_ns=0))
    assert (told["profit"], told["sell_price"], told["settled_s"], told["stake"]) == (None, None, None, "0.35")


def test_a_bot_waits_trades_watches_or_is_silent(view: View, make_status: MakeStatus) -> None:
    def states(seen: View) -> list[str]:
        return [bot["state"] for bot in snapshot(seen)["bots"]]

    assert states(view) == ["trading", "silent"]
    waiting = [quota_pb2.QuotaShare(bot="trend-75", bucket="trade", window_s=60, waiting=2)]
    assert states(replace(view, quota=quota_now(make_status(shares=waiting))["demo"])) == ["trading", "waiting"]
    looked = {"trend-75": SpanAggregate(counts={OPERATION + SpanName.GATEWAY_HISTORY: 1})}
    figures = figures_of(looked, {}, 300, ["over-4", "trend-75"], None)
    assert states(replace(view, figures=figures, open_orders={})) == ["silent", "watching"]


def test_shares_that_nobody_uses_stay_at_home(view: View, make_status: MakeStatus) -> None:
    idle = [quota_pb2.QuotaShare(bot="trend-75", bucket="trade", window_s=60, share=154)]
    told = snapshot(replace(view, quota=quota_now(make_status(shares=idle))["demo"]))
    assert [one["bot"] for one in told["gateway"]["shares"]] == ["over-4"]


def test_use_of_the_limits_and_alerts_come_along(view: View) -> None:
    told = json.loads(json.dumps(snapshot(view)))
    assert told["usage"] == {"trade": [[NOW_S, 0.25]]}
    assert {(alert["rule"], alert["severity"]) for alert in told["alerts"]} >= {("refused_by_deriv", "critical")}
    assert told["every_s"] == 1.0

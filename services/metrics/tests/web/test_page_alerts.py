from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from derivfleet.common.clock import NS_PER_S
from derivfleet.metrics.alerts.alert_table import Alert as KeptAlert
from derivfleet.metrics.records.gateway_status import quota_now, samples_of
from derivfleet.metrics.reports.figures import figures_of
from derivfleet.metrics.store.order_table import UnknownOrders
from derivfleet.metrics.sums.span_aggregates import ERROR, SpanAggregate
from derivfleet.metrics.web.limit_usage import LimitUsage
from derivfleet.metrics.web.page_alerts import alert_json, alerts_of
from derivfleet.metrics.web.profit_curve import ProfitCurve
from derivfleet.metrics.web.view import FeedView, View
from derivfleet.v1 import control_pb2, quota_pb2

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from derivfleet.common.fleet import Fleet
    from derivfleet.v1.control_pb2 import GetStatusResponse

    MakeStatus = Callable[..., GetStatusResponse]
    MakeView = Callable[..., View]

NOW_S = 1_795_161_723.0


@pytest.fixture
def calm(make_status: MakeStatus, fleet: Fleet) -> MakeView:
    """A fleet that does well, with changes to what its gateway says."""

    def make(errors: dict[str, int] | None = None, **told: Any) -> View:
        status = make_status(NOW_S - 3, **told)
        return View(
            now_ns=round(NOW_S * NS_PER_S),
            speed=1.0,
            fleet=fleet,
            account="demo",
            window_s=300,
            figures=figures_of(
                {"over-4": SpanAggregate(counts={ERROR + code: count for code, count in (errors or {}).items()})},
                {},
                300,
                ["over-4"],
                None,
            ),
            fleet_curve=ProfitCurve(8, 60),
            bot_curves={},
            usage=LimitUsage(60),
            every_wall_s=1.0,
            kept_alerts=[],
            orders=[],
            open_orders={},
            status=samples_of(status)[0],
            quota=quota_now(status)["demo"],
            feed=FeedView(connected=True, problem="", lag_s=0.0, events_refused=0, spans_refused=0, spans_deferred=0),
        )

    return make


def test_a_doubtful_order_calls_a_person_and_one_that_is_looked_for_does_not(calm: MakeView) -> None:
    sought = replace(calm(), unknown_orders={"over-4": UnknownOrders(1, 0, Decimal("0.35"))})
    assert alerts_of(sought) == []
    (told,) = alerts_of(replace(sought, unknown_orders={"over-4": UnknownOrders(3, 2, Decimal("1.05"))}))
    assert (told.rule, told.severity, told.bot) == ("doubtful_orders", "critical", "over-4")
    assert "2 orders wait for you" in told.message
    assert "derivfleet orders --unknown" in told.message


def test_a_fleet_that_does_well_needs_nobody(calm: MakeView) -> None:
    assert alerts_of(calm()) == []


def test_a_cut_feed_tells_since_when(calm: MakeView) -> None:
    cut = FeedView(connected=False, problem="away", lag_s=30.0, events_refused=0, spans_refused=0, spans_deferred=0)
    (alert,) = alerts_of(replace(calm(), feed=cut))
    assert (alert.rule, alert.severity, alert.since_ns) == ("feed_cut", "critical", round((NOW_S - 30) * NS_PER_S))
    assert alert_json(alert)["since_s"] == NOW_S - 30


def test_an_old_status_is_told_in_the_pace_of_the_clock(calm: MakeView) -> None:
    late = replace(calm(), now_ns=round((NOW_S + 60) * NS_PER_S))
    assert [alert.rule for alert in alerts_of(late)] == ["status_stale"]
    assert alerts_of(replace(late, speed=60.0)) == []


@pytest.mark.parametrize(
    ("told", "rule", "severity", "bot"),
    [
        ({"rejected": 2}, "refused_by_deriv", "critical", ""),
        ({"foreign_trades": 1}, "foreign_trades", "critical", ""),
        (
            {"breaker": control_pb2.CircuitBreakerStatus(state="open", since_time_ns=5, reason="5 failures")},
            "breaker",
            "critical",
            "",
        ),
        ({"breaker": control_pb2.CircuitBreakerStatus(state="half_open")}, "breaker", "warning", ""),
        (
            {"connections": [control_pb2.ConnectionStatus(role="reads", state="slow", problem="1.2 s a call")]},
            "socket",
            "warning",
            "",
        ),
        (
            {"windows": [quota_pb2.QuotaWindow(bucket="lists", window_s=60, limit=28, used=27, deriv_limit=30)]},
            "limit_nearly_full",
            "warning",
            "",
        ),
        (
            {"shares": [quota_pb2.QuotaShare(bot="over-4", bucket="trade", window_s=60, used=9, waiting=3)]},
            "waits_for_quota",
            "info",
            "over-4",
        ),
    ],
)
def test_what_the_gateway_says_becomes_an_alert(
    calm: MakeView, told: dict[str, Any], rule: str, severity: str, bot: str
) -> None:
    (alert,) = alerts_of(calm(**told))
    assert (alert.rule, alert.severity, alert.bot, alert.state) == (rule, severity, bot, "firing")
    assert alert.message


def test_the_worst_comes_first(calm: MakeView) -> None:
    waiting = [quota_pb2.QuotaShare(bot="over-4", bucket="trade", window_s=60, used=9, waiting=3)]
    found = alerts_of(calm({"QUOTA_DEADLINE": 2}, rejected=1, shares=waiting))
    assert [alert.severity for alert in found] == ["critical", "warning", "info"]
    assert "QUOTA_DEADLINE 2×" in found[1].message


def test_what_rules_raised_stands_with_the_rest_and_after_it_when_it_is_over(calm: MakeView) -> None:
    fired = KeptAlert("losses", "over-4", "drawdown", Decimal(5), Decimal("7.5"), 3 * NS_PER_S)
    over = replace(fired, fired_ns=NS_PER_S, cleared_ns=2 * NS_PER_S)
    found = alerts_of(replace(calm(rejected=1), kept_alerts=[fired, over]))
    assert [(alert.rule, alert.state) for alert in found] == [
        ("refused_by_deriv", "firing"),
        ("losses", "firing"),
        ("losses", "resolved"),
    ]
    assert found[1].message == "7.5 below the highest profit (threshold 5)."
    assert found[2].message.startswith("Over after ")
    assert alert_json(found[2])["until_s"] == 2.0

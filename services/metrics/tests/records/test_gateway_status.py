from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from derivfleet.metrics.records.gateway_status import (
    CallsSaved,
    CircuitBreaker,
    NextCall,
    QuotaNow,
    QuotaShare,
    QuotaWindow,
    RunningCount,
    counted_between,
    quota_now,
    samples_of,
)
from derivfleet.v1 import control_pb2, quota_pb2

if TYPE_CHECKING:
    from collections.abc import Callable

    MakeStatus = Callable[..., control_pb2.GetStatusResponse]


def test_a_sample_says_what_the_gateway_said(make_status: MakeStatus) -> None:
    (sample,) = samples_of(make_status(1_795_161_600, rejected=3))
    assert (sample.account, sample.balance, sample.is_demo, sample.rejected_by_deriv) == ("demo", "10012.34", True, 3)
    assert sample.windows == (
        QuotaWindow("trade", 60, 120, 342, 360, 34),
        QuotaWindow("trade", 3600, 3_000, 13_680, 14_400),
    )
    assert sample.connections[0].role == "orders"


def test_an_account_without_a_key_is_no_sample() -> None:
    nameless = control_pb2.GetStatusResponse(accounts=[control_pb2.AccountStatus()])
    assert samples_of(nameless) == []
    assert quota_now(nameless) == {}


def test_who_uses_the_limits_is_told_as_the_gateway_told_it(make_status: MakeStatus) -> None:
    forecast = quota_pb2.Forecast(bucket="trade", wait_ms=1_200, binding_window="trade/60s")
    told = make_status(
        shares=[
            quota_pb2.QuotaShare(bot="trend-75", bucket="trade", window_s=60, share=154, used=5, lent=9, waiting=2)
        ],
        next_calls=[quota_pb2.NextCall(bot="over-4", call="buy", forecast=forecast)],
        calls_saved=[quota_pb2.CallsSaved(kind="history", calls=12)],
        breaker=control_pb2.CircuitBreakerStatus(state="open", since_time_ns=7, reason="5 failures", retry_time_ns=9),
    )
    assert quota_now(told)["demo"] == QuotaNow(
        shares=(
            QuotaShare("over-4", "trade", 60, 154, 163, 9, 0, 0),
            QuotaShare("trend-75", "trade", 60, 154, 5, 0, 9, 2),
        ),
        next_calls=(NextCall("over-4", "trade", "buy", 1_200, "trade/60s"),),
        savings=(CallsSaved("history", 12),),
        breaker=CircuitBreaker("open", 7, "5 failures", 9),
    )


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3), st.booleans()), max_size=30), st.integers(0, 60))
def test_refusals_are_counted_across_restarts_of_the_gateway(steps: list[tuple[int, int, bool]], start: int) -> None:
    """The oracle knows when each refusal came; the counts only know running sums since the gateway's last start."""
    now, started, running = 0, 0, 0
    counts = [RunningCount(now, started, running)]
    happened: list[tuple[int, int]] = []
    for wait, refusals, restarted in steps:
        if restarted:
            started, running = now + 1, 0
        now += wait + 1
        running += refusals
        happened.append((now, refusals))
        counts.append(RunningCount(now, started, running))
    expected = sum(refusals for time, refusals in happened if start < time)
    assert counted_between(counts, start, now) == expected


def test_counts_after_the_period_are_left_out() -> None:
    counts = [RunningCount(0, 0, 0), RunningCount(10, 0, 2), RunningCount(20, 0, 5)]
    assert counted_between(counts, 0, 15) == 2


def test_what_was_refused_before_anybody_looked_belongs_to_no_period() -> None:
    assert counted_between([RunningCount(50, 10, 9), RunningCount(60, 10, 10)], 40, 100) == 1
    assert counted_between([RunningCount(50, 45, 9)], 40, 100) == 9

"""The account's limits on the wire, by a quota at work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from derivfleet.deriv.limits import LEGACY_LIMITS, OPTIONS_LIMITS
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.quota import Forecast, PermitDenied, PermitState, Quota
from derivfleet.gateway.rpc.quota import (
    forecast_message,
    next_call_messages,
    saved_messages,
    share_messages,
    window_messages,
)

if TYPE_CHECKING:
    from derivfleet.v1 import quota_pb2

T0_NS = 1_795_161_600 * 10**9
NS_PER_MS = 10**6
Window = tuple[str, int]


@pytest.fixture
def quota() -> Quota:
    return Quota(OPTIONS_LIMITS, 0.95, {"busy": 1.0, "idle": 1.0})


def flooded(quota: Quota, seconds: float) -> int:
    """``busy`` buys ten times a second, answered 10 ms later; the instant at the end."""
    now_ns = T0_NS
    for _ in range(round(seconds * 10)):
        quota.ask("busy", Call.BUY, now_ns)
        for permit in quota.dispatch(now_ns):
            quota.landed(permit, now_ns + 10 * NS_PER_MS)
        now_ns += 100 * NS_PER_MS
    return now_ns


def windows_of(quota: Quota, now_ns: int) -> dict[Window, quota_pb2.QuotaWindow]:
    return {(one.bucket, one.window_s): one for one in window_messages(quota, now_ns)}


def shares_of(quota: Quota, now_ns: int, bucket: str = "trade") -> dict[str, quota_pb2.QuotaShare]:
    shares = share_messages(quota, now_ns)
    return {one.bot: one for one in shares if (one.bucket, one.window_s) == (bucket, 60)}


def test_windows_tell_both_limits_and_what_is_kept_back(quota: Quota) -> None:
    windows = windows_of(quota, T0_NS)
    assert set(windows) == {
        (name, window_s) for name in ("trade", "money", "lists", "other") for window_s in (60, 3600)
    }
    minute, hour = windows["trade", 60], windows["trade", 3600]
    assert (minute.limit, minute.deriv_limit, minute.used) == (342, 360, 0)
    assert (hour.limit, hour.deriv_limit, hour.used) == (13_680, 14_400, 0)
    assert 0 < hour.reserved < hour.limit


def test_a_window_counts_what_was_sent_and_never_promises_more_than_there_is(quota: Quota) -> None:
    now_ns = flooded(quota, 20)
    minute = windows_of(quota, now_ns)["trade", 60]
    assert minute.used == 200
    assert minute.used + minute.reserved <= minute.limit


def test_loans_and_waiting_calls_are_told_of_their_bots(quota: Quota) -> None:
    shares = shares_of(quota, flooded(quota, 60))
    busy, idle = shares["busy"], shares["idle"]
    assert busy.share == idle.share == 171
    assert busy.borrowed == busy.used - busy.share > 0
    assert (idle.used, idle.borrowed) == (0, 0)
    assert idle.lent == busy.borrowed
    assert (busy.waiting > 0, idle.waiting) == (True, 0)


def test_a_caller_sees_its_own_shares_alone(quota: Quota) -> None:
    shares = share_messages(quota, T0_NS, "idle")
    assert {one.bot for one in shares} == {"idle"}
    assert len(shares) == 8


def test_the_next_call_waits_as_long_as_a_deadline_would_tell(quota: Quota) -> None:
    now_ns = flooded(quota, 60)
    nexts = {(one.bot, one.call): one.forecast for one in next_call_messages(quota, ("busy", "idle"), now_ns)}
    assert set(nexts) == {(bot, call) for bot in ("busy", "idle") for call in ("buy", "ticks_history")}
    assert nexts["idle", "buy"].wait_ms < nexts["busy", "buy"].wait_ms, "who lent goes before who borrowed"
    told = nexts["busy", "buy"]
    assert (told.bucket, told.remaining, told.share) == ("trade", 0, 171)
    denied = quota.ask("busy", Call.BUY, now_ns, deadline_ns=now_ns + NS_PER_MS)
    assert isinstance(denied, PermitDenied)
    assert told.binding_window == denied.binding
    assert told.wait_ms == pytest.approx(denied.wait_ns / NS_PER_MS, abs=1)


def test_each_bucket_of_a_dialect_has_one_call_that_stands_for_it() -> None:
    legacy = Quota(LEGACY_LIMITS, 0.95, {"a": 1.0})
    told = [(one.forecast.bucket, one.call) for one in next_call_messages(legacy, ("a",), T0_NS)]
    assert told == [
        ("virtual_buy", "buy"),
        ("virtual_sell", "sell"),
        ("pricing", "proposal_open_contract"),
        ("general", "ticks_history"),
    ]


def test_looking_changes_nothing(quota: Quota) -> None:
    now_ns = flooded(quota, 10)
    for _ in range(100):
        window_messages(quota, now_ns)
        share_messages(quota, now_ns)
        next_call_messages(quota, ("busy", "idle"), now_ns)
    permit = quota.ask("busy", Call.BUY, now_ns)
    assert not isinstance(permit, PermitDenied)
    assert permit.state is PermitState.GRANTED


@pytest.mark.parametrize(("wait_ns", "wait_ms"), [(0, 0), (1, 1), (NS_PER_MS, 1), (NS_PER_MS + 1, 2)])
def test_a_wait_is_never_told_shorter_than_it_is(wait_ns: int, wait_ms: int) -> None:
    told = forecast_message(Forecast("trade", 3, 171, wait_ns, "trade/60s"), waited_ms=7)
    assert (told.wait_ms, told.waited_ms, told.remaining, told.binding_window) == (wait_ms, 7, 3, "trade/60s")


def test_savings_are_told_by_kind() -> None:
    told = saved_messages({"ticks": 9, "history": 120})
    assert [(one.kind, one.calls) for one in told] == [("history", 120), ("ticks", 9)]

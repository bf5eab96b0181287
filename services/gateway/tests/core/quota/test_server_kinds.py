"""Deriv does not say how it counts: what must hold against each kind of window that servers are known to use."""

from __future__ import annotations

import pytest

from derivfleet.deriv.limits import OPTIONS_LIMITS
from derivfleet.deriv.vocabulary import Call
from services.gateway.tests.core.quota.market import Asked, Market

HOUR_S = 3600
LIMIT = OPTIONS_LIMITS.buckets["lists"].windows[HOUR_S]
"""Calls an hour: so many can be kept up."""
NEVER_SHORTER = (
    "from the first hit",
    "calendar",
    "sliding log",
    "six slots, the oldest forgotten",
    "whole token bucket",
)
"""Kinds that admit whatever leaves no span of a window's length with more calls than the limit."""
LONGER = {
    "sixty slots, the oldest whole": 60 / 61,
    "six slots, the oldest whole": 6 / 7,
    "weighted with the one before": 1.0,
    "half a token bucket": 1.0,
}
"""Kinds that refuse some of it, and the part of the limit that can be kept up with them all the same."""


def hungry(kind: str) -> Market:
    """Ten bots that always want one more call."""
    market = Market([f"b{number}" for number in range(10)], kind=kind)
    for bot in market.bots:
        for _ in range(2):
            market.again_and_again(bot, Call.PORTFOLIO)
    return market


def sent_in(market: Market, hours: int) -> list[Asked]:
    begin_ns = market.now_ns
    market.run(hours * HOUR_S)
    return [asked for asked in market.calls if asked.sent_ns is not None and asked.sent_ns >= begin_ns]


@pytest.mark.parametrize("kind", NEVER_SHORTER)
def test_a_window_that_is_no_longer_than_it_says_refuses_nothing_and_is_used_in_full(kind: str) -> None:
    market = hungry(kind)
    calls = sent_in(market, 3)
    assert all(asked.admitted for asked in calls if asked.sent_ns is not None and asked.sent_ns < market.now_ns - 10**9)
    assert len(calls) >= 0.98 * 3 * LIMIT


@pytest.mark.parametrize("kind", LONGER)
def test_a_longer_window_refuses_hardly_a_call_once_it_is_known(kind: str) -> None:
    market = hungry(kind)
    sent_in(market, 1)
    calls = sent_in(market, 2)
    assert sum(asked.admitted for asked in calls) >= len(calls) - 4  # two are under way


@pytest.mark.xfail(
    raises=AssertionError,
    strict=True,
    reason="each lesson lowers the limit by a twentieth only and costs several refused calls",
)
@pytest.mark.parametrize("kind", LONGER)
def test_a_longer_window_is_known_after_a_few_refusals(kind: str) -> None:
    calls = sent_in(hungry(kind), 2)
    assert sum(not asked.admitted for asked in calls) <= 10


@pytest.mark.xfail(
    raises=AssertionError,
    strict=True,
    reason="every refusal within the hour lowers the limit, and nothing ever raises it again",
)
@pytest.mark.parametrize("kind", LONGER)
def test_what_a_longer_window_admits_is_used_but_for_one_step(kind: str) -> None:
    market = hungry(kind)
    sent_in(market, 3)
    admitted = sum(asked.admitted for asked in sent_in(market, 2))
    assert admitted >= 0.95 * LONGER[kind] * 2 * LIMIT


@pytest.mark.xfail(
    raises=AssertionError, strict=True, reason="limits lowered once stay lowered until the gateway is started anew"
)
def test_limits_come_back_when_a_foreign_program_that_used_the_account_is_gone() -> None:
    market = hungry("from the first hit")
    sent_in(market, 1)
    until_ns = market.now_ns + 1800 * 10**9

    def foreign() -> None:
        market.server.admit("lists", market.now_ns)
        if market.now_ns < until_ns:
            market.at(2.4, foreign)

    foreign()
    sent_in(market, 3)
    assert sum(asked.admitted for asked in sent_in(market, 1)) >= 0.95 * LIMIT

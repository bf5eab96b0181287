"""An account that nobody uses: whoever wants calls then finds them all."""

from __future__ import annotations

from itertools import pairwise

import pytest

from derivfleet.deriv.limits import OPTIONS_LIMITS
from derivfleet.deriv.vocabulary import Call
from services.gateway.tests.core.quota.market import Market

S = 10**9


def at_once(bots: int, call: Call, calls: int) -> int:
    """How many of a burst of one bot start at once, while the others want nothing."""
    market = Market([f"b{number}" for number in range(bots)])
    for _ in range(calls):
        market.ask("b0", call)
    market.run(60)
    return sum(asked.wait_s == 0 for asked in market.calls)


@pytest.mark.parametrize("bots", [1, 3])
def test_a_burst_within_the_bots_own_share_starts_at_once(bots: int) -> None:
    assert at_once(bots, Call.TICKS_HISTORY, 50) == 50


@pytest.mark.xfail(raises=AssertionError, strict=True, reason="loans are paced even while nobody else wants anything")
@pytest.mark.parametrize(
    ("bots", "call", "calls"),
    [
        (10, Call.TICKS_HISTORY, 50),
        (300, Call.TICKS_HISTORY, 50),
        (10, Call.BUY, 100),
        (40, Call.BUY, 20),
        (10, Call.PORTFOLIO, 10),
        (40, Call.STATEMENT, 10),
    ],
)
def test_a_burst_beyond_the_bots_own_share_starts_at_once_if_nobody_else_wants_anything(
    bots: int, call: Call, calls: int
) -> None:
    assert at_once(bots, call, calls) == calls


def best_of(bursts_ns: list[int], calls: int) -> int:
    """How many calls could start if all windows were spent to the last call, without any delay."""
    windows = [(limit, window_s * S) for window_s, limit in OPTIONS_LIMITS.buckets["other"].windows.items()]
    starts: list[int] = []
    for begin_ns, end_ns in pairwise(bursts_ns):
        at_ns = begin_ns
        for _ in range(calls):
            at_ns = max([at_ns, *(starts[-limit] + length_ns for limit, length_ns in windows if len(starts) >= limit)])
            if at_ns >= end_ns:
                break
            starts.append(at_ns)
    return len(starts)


@pytest.mark.xfail(raises=AssertionError, strict=True, reason="loans are paced even while nobody else wants anything")
def test_a_bot_that_begins_anew_over_and_over_gets_what_nobody_else_wants() -> None:
    market = Market([f"b{number}" for number in range(10)])
    bursts_ns: list[int] = []

    def begin_anew() -> None:
        bursts_ns.append(market.now_ns)
        market.give_up("b4")
        for _ in range(50):
            market.ask("b4", Call.TICKS_HISTORY)
        market.at(market.random.uniform(3, 20), begin_anew)

    begin_anew()
    market.run(3600)
    sent = sum(asked.sent_ns is not None for asked in market.calls)
    assert sent >= 0.97 * best_of([*bursts_ns, market.now_ns], 50)

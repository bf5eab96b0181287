"""The call limits of the two programs."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.speedup.rate_limit import WINDOW_NS, RateLimit
from derivfleet.common.clock import ManualClock

S = 10**9


@settings(deadline=None)
@given(calls=st.integers(1, 6), gaps_s=st.lists(st.integers(0, 40), max_size=40))
def test_waits_exactly_as_long_as_the_last_minute_is_full(calls: int, gaps_s: list[int]) -> None:
    allowance, taken_ns, now_ns = RateLimit(calls), list[int](), 0
    for gap_s in gaps_s:
        now_ns += gap_s * S
        wait_ns = allowance.wait_ns(now_ns)
        # By the definition: the first instant with fewer than `calls` in the minute before it.
        candidates_ns = [now_ns, *(start_ns + WINDOW_NS for start_ns in taken_ns)]
        first_ns = min(
            at_ns
            for at_ns in candidates_ns
            if at_ns >= now_ns and sum(at_ns - WINDOW_NS < start_ns for start_ns in taken_ns) < calls
        )
        assert wait_ns == first_ns - now_ns
        if wait_ns:
            with pytest.raises(ValueError, match="used up"):
                allowance.take(now_ns)
        else:
            allowance.take(now_ns)
            taken_ns.append(now_ns)


async def test_a_turn_comes_when_the_minute_has_room_again() -> None:
    clock = ManualClock()
    allowance = RateLimit(2)
    await allowance.turn(clock)
    await clock.advance(20)
    await allowance.turn(clock)
    third = asyncio.create_task(allowance.turn(clock))
    await clock.advance(39.9)
    assert not third.done()
    await clock.advance(0.2)
    assert third.done()

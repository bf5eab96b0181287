"""The pace of a window: it may be kept up until what has been spent returns, and no call waits longer than it must."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.gateway.core.quota.call_log import CallLog
from derivfleet.gateway.core.quota.pacing import Pace

S = 10**9


def hour(depth: float = 1.0) -> tuple[CallLog, Pace]:
    log = CallLog((60, 3600))
    length_ns = log.lengths_ns[1]
    return log, Pace(log, 1, depth, length_ns // 360, length_ns // 360, 1.0, 1.4)


def spend_all(log: CallLog, pace: Pace, limit: int, until_ns: int) -> list[int]:
    """When calls start that are started as soon as window and pace allow; somebody looks every ten seconds."""
    now_ns, starts = 0, list[int]()
    while now_ns < until_ns:
        free_ns = log.freed_ns(1, 1 - (limit - log.used(1, now_ns)), now_ns)
        ready_ns = max(free_ns, pace.ready_ns(limit, 1.0, now_ns))
        if ready_ns <= now_ns:
            log.start()
            log.land(now_ns)
            pace.tokens -= 1
            starts.append(now_ns)
        else:
            now_ns = min(ready_ns, now_ns + 10 * S)
    return starts


def test_an_idle_window_is_spent_evenly_after_a_burst_of_the_depth() -> None:
    log, pace = hour(depth=10)
    starts = spend_all(log, pace, 3600, 1000 * S)
    assert starts[:10] == [0] * 10
    assert all(0.9 * S < later - earlier < 1.2 * S for earlier, later in pairwise(starts[10:]))


def test_a_window_of_one_call_is_used_again_as_soon_as_it_returns() -> None:
    log, pace = hour()
    assert len(spend_all(log, pace, 1, 10 * 3600 * S)) == 10


def test_after_a_burst_that_emptied_the_window_nothing_is_promised_before_it_returns() -> None:
    log, pace = hour(depth=10)
    for _ in range(100):
        log.start()
        log.land(0)
    pace.tokens = 0
    assert pace.ready_ns(100, 1.0, S) > S
    assert pace.wait_ns(2) > 1000 * S


def test_lower_limits_take_tokens_away_and_the_rate_is_set_anew_at_once() -> None:
    _, pace = hour(depth=50)
    assert pace.ready_ns(100, 50.0, 0) == 0
    pace.resize(5)
    assert pace.tokens == 5
    assert pace.ready_ns(10, 6.0, 0) > 0


@settings(deadline=None, max_examples=30)
@given(st.integers(20, 100), st.integers(1, 20))
def test_a_saturated_window_neither_runs_dry_nor_leaves_much(limit: int, depth: int) -> None:
    depth = min(depth, max(1, limit // 4))  # what a minute may hold is always a small part of the hour
    log, pace = hour(float(depth))
    starts = [start for start in spend_all(log, pace, limit, 4 * 3601 * S) if start >= 3601 * S]
    assert len(starts) >= 0.9 * 3 * limit - 3
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    # The first hour's burst comes back as one, and then the rest.
    assert max(gaps, default=0) <= 3601 * S * (min(limit, depth) + 1) / limit + 20 * S

"""What a turn costs when the hour is nearly full, beside the plain way: counting the log anew for every call."""

from __future__ import annotations

import time

from derivfleet.deriv.limits import OPTIONS_LIMITS
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.schedule import Schedule

BOTS = [f"bot-{number}" for number in range(10)]
TURNS = 10_000
RECOUNTS = 300
GAP_NS = 265_000_000
"""Just under four calls a second: the pace at which the hour window is full and the minute window is not."""


def _ours() -> float:
    schedule = Schedule(OPTIONS_LIMITS, 1.0, dict.fromkeys(BOTS, 1.0), margin_s=0.25)
    for index in range(TURNS):
        schedule.reserve(BOTS[index % 10], Call.BUY, index * GAP_NS)
    start = time.perf_counter()
    for index in range(TURNS, TURNS + 1000):
        schedule.reserve(BOTS[index % 10], Call.BUY, index * GAP_NS)
    return 1000 / (time.perf_counter() - start)


def _recounting() -> float:
    """Four counts a call, as ours has four windows: minute and hour, of the account and of the bot."""
    account = [index * GAP_NS for index in range(TURNS)]
    own = account[::10]
    start = time.perf_counter()
    for index in range(TURNS, TURNS + RECOUNTS):
        now_ns = index * GAP_NS
        for log in (account, own):
            for length_ns in (60 * 10**9, 3600 * 10**9):
                sum(1 for start_ns in log if start_ns > now_ns - length_ns)
        account.append(now_ns)
    return RECOUNTS / (time.perf_counter() - start)


def measure() -> dict[str, float]:
    ours, recounting = _ours(), _recounting()
    return {
        "turns_per_s": ours,
        "recounting_turns_per_s": recounting,
        "ratio_to_recounting": ours / recounting,
        "microseconds_a_turn": 1e6 / ours,
    }

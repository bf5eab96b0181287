"""The breaker opens when orders get no answers, and lets one through to see."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.common.backoff import backoff_s
from derivfleet.gateway.core.orders.circuit_breaker import Breaker, BreakerState, Passage, Sick

S = 10**9
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def entered(breaker: Breaker, now_ns: int) -> Passage:
    passage = breaker.enter(now_ns)
    assert isinstance(passage, Passage)
    return passage


def tripped(now_ns: int = 0) -> Breaker:
    breaker = Breaker("demo", 0)
    for _ in range(5):
        breaker.failed(entered(breaker, now_ns), now_ns, "Timeout")
    assert breaker.state is OPEN
    return breaker


def test_a_few_failures_are_bad_luck() -> None:
    breaker = Breaker("demo", 0)
    for _ in range(4):
        breaker.failed(entered(breaker, 0), 0, "Timeout")
    assert breaker.state is CLOSED
    breaker.failed(entered(breaker, 30 * S + 1), 30 * S + 1, "Timeout")
    assert breaker.state is CLOSED, "the first four are too long ago"


def test_failures_among_many_answers_are_borne() -> None:
    breaker = Breaker("demo", 0)
    for number in range(20):
        breaker.worked(entered(breaker, number), number)
    for number in range(19):
        breaker.failed(entered(breaker, S + number), S + number, "Timeout")
    assert breaker.state is CLOSED
    breaker.failed(entered(breaker, 2 * S), 2 * S, "InternalServerError")
    assert breaker.state is OPEN
    assert "20 of 40 orders" in breaker.reason
    assert "InternalServerError" in breaker.reason


def test_a_socket_that_takes_ten_orders_along_is_one_failure() -> None:
    breaker = Breaker("demo", 0)
    for socket in ("a#1", "a#2", "a#3", "a#4"):
        passages = [entered(breaker, 0) for _ in range(10)]
        for passage in passages:
            breaker.failed(passage, 1, "ConnectionClosed", socket)
    assert breaker.state is CLOSED
    breaker.failed(entered(breaker, 2), 2, "ConnectionClosed", "a#5")
    assert breaker.state is OPEN


def test_an_open_breaker_says_when_it_tries_again_and_then_lets_one_through() -> None:
    breaker = tripped()
    wait_ns = breaker.retry_time_ns
    assert S <= wait_ns <= 2 * S
    sick = breaker.enter(wait_ns - 7)
    assert isinstance(sick, Sick)
    assert (sick.wait_ns, sick.reason) == (7, breaker.reason)
    trial = entered(breaker, wait_ns)
    assert (breaker.state, breaker.since_time_ns) == (HALF_OPEN, wait_ns)
    assert isinstance(breaker.enter(wait_ns + 9 * S), Sick), "one at a time, however long it takes"
    breaker.worked(trial, wait_ns + 10 * S)
    assert (breaker.state, breaker.reason, breaker.retry_time_ns) == (CLOSED, "", 0)


def test_each_trial_that_fails_makes_the_next_wait_longer_up_to_a_minute() -> None:
    breaker = tripped()
    now_ns, waits = 0, [breaker.retry_time_ns]
    for _ in range(8):
        now_ns = breaker.retry_time_ns
        breaker.failed(entered(breaker, now_ns), now_ns, "Timeout")
        waits.append(breaker.retry_time_ns - now_ns)
    assert all(later > earlier for earlier, later in pairwise(waits[:5]))
    assert max(waits) <= 60 * S
    now_ns = breaker.retry_time_ns
    breaker.worked(entered(breaker, now_ns), now_ns)
    for _ in range(5):
        breaker.failed(entered(breaker, now_ns), now_ns, "Timeout")
    assert breaker.retry_time_ns - now_ns == waits[0], "well again: the next illness begins anew"


def test_a_trial_that_was_not_sent_makes_room_for_the_next() -> None:
    breaker = tripped()
    now_ns = breaker.retry_time_ns
    breaker.withdrew(entered(breaker, now_ns), now_ns + S)
    assert breaker.state is OPEN
    breaker.worked(entered(breaker, now_ns + S), now_ns + 2 * S)
    assert breaker.state is CLOSED


def test_orders_of_the_illness_do_not_count_against_the_time_after_it() -> None:
    breaker = Breaker("demo", 0)
    old = [entered(breaker, 0) for _ in range(20)]
    for passage in old[:5]:
        breaker.failed(passage, S, "Timeout")
    breaker.worked(old[5], 2 * S)
    assert breaker.state is OPEN, "an old order's answer is no trial"
    now_ns = breaker.retry_time_ns
    breaker.worked(entered(breaker, now_ns), now_ns)
    for passage in old[6:]:
        breaker.failed(passage, now_ns + S, "Timeout")
    assert breaker.state is CLOSED


@dataclass
class Model:
    """The rules written another way: the whole history is kept, and read anew for every question."""

    history: list[tuple[str, int, int, str]] = field(default_factory=list[tuple[str, int, int, str]])
    """(what, time, number of the order, cause)."""
    numbers: int = 0

    def replay(self) -> tuple[BreakerState, int, int | None]:
        """State, when the next order is let through, and the order that is tried."""
        state, retry_ns, trial, trips, first_heeded = CLOSED, 0, None, 0, 0
        heeded: list[tuple[str, int, str]] = []
        for what, time_ns, number, cause in self.history:
            if what == "enter":
                if state is OPEN and time_ns >= retry_ns:
                    state, trial = HALF_OPEN, number
            elif trial == number:
                trial = None
                if what == "withdrew":
                    state = OPEN
                elif what == "failed":
                    state, retry_ns, trips = OPEN, time_ns + round(backoff_s(trips, "k", 2, 60) * S), trips + 1
                else:
                    state, trips, first_heeded, heeded = CLOSED, 0, number, [("worked", time_ns, "")]
            elif what != "withdrew" and state is CLOSED and number >= first_heeded:
                in_window = [end for end in heeded if time_ns - end[1] <= 30 * S]
                if cause and any(end[2] == cause for end in in_window):
                    continue
                heeded.append((what, time_ns, cause))
                in_window.append(heeded[-1])
                failures = [end for end in in_window if end[0] == "failed"]
                if what == "failed" and len(failures) >= 5 and 2 * len(failures) >= len(in_window):
                    state, retry_ns, trips = OPEN, time_ns + round(backoff_s(trips, "k", 2, 60) * S), trips + 1
                    heeded = []
        return state, retry_ns, trial


moves = st.lists(
    st.tuples(
        st.sampled_from(["enter", "enter", "enter", "worked", "failed", "failed", "failed", "withdrew"]),
        st.integers(0, 3 * S),
        st.integers(0, 10**6),
        st.sampled_from(["", "", "a", "b", "c"]),
    ),
    max_size=120,
)


@settings(deadline=None)
@given(moves)
def test_the_breaker_is_what_its_history_says(moves: list[tuple[str, int, int, str]]) -> None:
    breaker, model = Breaker("k", 0), Model()
    under_way: list[Passage] = []
    now_ns = 0
    for what, step_ns, choice, cause in moves:
        now_ns += step_ns
        state, retry_ns, _ = model.replay()
        if what == "enter":
            admitted = state is CLOSED or (state is OPEN and now_ns >= retry_ns)
            assert (breaker.refusal(now_ns) is None) == admitted
            passage: Any = breaker.enter(now_ns)
            assert isinstance(passage, Passage) == admitted
            if admitted:
                model.history.append(("enter", now_ns, passage.number, ""))
                under_way.append(passage)
        elif under_way:
            passage = under_way.pop(choice % len(under_way))
            model.history.append((what, now_ns, passage.number, cause if what == "failed" else ""))
            if what == "failed":
                breaker.failed(passage, now_ns, "Timeout", cause)
            elif what == "worked":
                breaker.worked(passage, now_ns)
            else:
                breaker.withdrew(passage, now_ns)
        state, retry_ns, trial = model.replay()
        assert breaker.state is state
        if state is OPEN:
            assert breaker.retry_time_ns == retry_ns
        assert (state is HALF_OPEN) == (trial is not None)
        assert (breaker.reason == "") == (state is CLOSED)

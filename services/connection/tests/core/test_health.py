"""A socket is judged by its silence and its pace."""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.connection.core.health import Action, Health, Timeouts, Verdict

MS = 10**6
S = 10**9
TIMEOUTS = Timeouts()
STEP = TIMEOUTS.step_ns


class Watch:
    """A socket, and the steps in which it is looked at."""

    def __init__(self) -> None:
        self.health = Health(TIMEOUTS, 0)
        self.now_ns = 0
        self.advice: list[tuple[float, Action]] = []

    def to(self, time_s: float) -> None:
        """Check at every step up to a time."""
        while self.now_ns + STEP <= time_s * S:
            self.now_ns += STEP
            advice = self.health.check(self.now_ns)
            if advice is not Action.NOTHING:
                self.advice.append((self.now_ns / S, advice))

    def answered(self, req_id: int, sent_s: float, took_s: float) -> None:
        self.health.sent(req_id, round(sent_s * S))
        self.health.heard(round((sent_s + took_s) * S))
        self.health.answered(req_id, round((sent_s + took_s) * S))

    def times_of(self, advice: Action) -> list[float]:
        return [time_s for time_s, given in self.advice if given is advice]


def test_an_idle_socket_is_pinged_and_never_suspect() -> None:
    watch = Watch()
    watch.to(60)
    assert watch.times_of(Action.PING) == [0.5, 10.5, 20.5, 30.5, 40.5, 50.5]
    assert watch.health.verdict is Verdict.READY


def test_silence_with_a_call_open_makes_suspect_then_asks_then_kills() -> None:
    watch = Watch()
    watch.to(1)
    watch.health.sent(1, S)
    watch.to(3.5)
    assert watch.health.verdict is Verdict.READY
    watch.to(4)
    assert watch.health.verdict is Verdict.SUSPECT
    assert watch.health.problem == "silent for 3.0 s with 1 calls open"
    assert watch.times_of(Action.PING) == [0.5, 4.0]
    watch.to(6.5)
    assert watch.times_of(Action.ABANDON) == []
    watch.to(7)
    assert watch.times_of(Action.ABANDON) == [7.0]
    assert watch.health.verdict is Verdict.DEAD


def test_any_frame_clears_the_suspicion() -> None:
    watch = Watch()
    watch.health.sent(1, 0)
    watch.to(3)
    assert watch.health.verdict is Verdict.SUSPECT
    watch.health.heard(4 * S)
    watch.to(4.5)
    assert watch.health.verdict is Verdict.READY
    watch.to(6.5)
    assert watch.health.verdict is Verdict.READY
    watch.to(7)
    assert watch.health.verdict is Verdict.SUSPECT, "the call is still open, and the silence begins anew"


def test_who_usually_takes_long_is_given_longer() -> None:
    watch = Watch()
    for number in range(3):
        watch.answered(number, number * 0.1, 2.0)
    watch.to(2.5)
    watch.health.sent(9, round(2.5 * S))
    watch.to(10)
    assert watch.health.verdict is not Verdict.SUSPECT
    watch.to(10.5)
    assert watch.health.verdict is Verdict.SUSPECT, "four times two seconds"
    watch.to(18)
    assert watch.times_of(Action.ABANDON) == []
    watch.to(18.5)
    assert watch.times_of(Action.ABANDON) == [18.5]


def test_time_in_which_the_process_stood_still_is_not_the_peers_silence() -> None:
    watch = Watch()
    watch.to(1)
    watch.health.sent(1, S)
    watch.now_ns = 60 * S  # nothing ran for a minute
    watch.to(62)
    assert watch.health.verdict is Verdict.READY
    watch.to(63)
    assert watch.health.verdict is Verdict.SUSPECT


def test_a_socket_is_slow_by_the_median_and_ready_again_only_when_it_is_clearly_better() -> None:
    watch = Watch()
    for number, took_s in enumerate((0.1, 5.0, 0.1, 4.0, 0.1)):
        watch.answered(number, number * 0.1, took_s)
    watch.to(6)
    assert watch.health.verdict is Verdict.READY, "two outliers"
    for number in range(3):
        watch.answered(10 + number, 6 + number * 0.1, 1.2)
    watch.to(8)
    assert (watch.health.verdict, watch.health.problem) == (Verdict.SLOW, "answers take 1.2 s")
    for number in range(5):
        watch.answered(20 + number, 8 + number * 0.1, 0.7)
    watch.to(10)
    assert watch.health.verdict is Verdict.SLOW
    for number in range(5):
        watch.answered(30 + number, 10 + number * 0.1, 0.1)
    watch.to(11)
    assert (watch.health.verdict, watch.health.problem) == (Verdict.READY, "")


def test_calls_that_are_open_too_long_make_a_socket_slow_before_they_are_answered() -> None:
    watch = Watch()
    watch.answered(0, 0, 0.1)
    for number in range(1, 4):
        watch.health.sent(number, S)
    for step in range(4):
        watch.health.heard(round((1 + step / 2) * S))  # a stream goes on: it is not silent
        watch.to(1 + step / 2)
    assert watch.health.verdict is Verdict.SLOW


def test_a_slow_socket_is_pinged_often_and_large_answers_do_not_make_one_slow() -> None:
    watch = Watch()
    for number in range(5):
        watch.answered(number, number * 0.1, 1.5)
    watch.to(10)
    assert watch.times_of(Action.PING) == [0.5, 2.5, 4.5, 6.5, 8.5]
    large = Watch()
    for number in range(5):
        large.health.sent(number, number * S // 10, timed=False)
    for number in range(5):
        large.health.heard(2 * S)
        large.health.answered(number, 2 * S)
    large.to(3)
    assert large.health.verdict is Verdict.READY


def test_what_was_slow_a_minute_ago_says_nothing_about_now() -> None:
    watch = Watch()
    for number in range(5):
        watch.answered(number, number * 0.1, 1.5)
    watch.to(61)
    assert watch.health.verdict is Verdict.SLOW
    watch.to(63)
    assert watch.health.verdict is Verdict.READY


class Call(NamedTuple):
    sent_ms: int
    took_ms: int | None


calls = st.lists(
    st.builds(
        Call,
        sent_ms=st.integers(0, 40_000),
        took_ms=st.one_of(st.none(), st.integers(1, 1_500), st.integers(1, 20_000)),
    ),
    max_size=25,
)


def expected_verdict(all_calls: list[Call], now_ms: int, probed_ms: int | None, *, was_ready: bool) -> Verdict:
    """The rules of the module's text, from the whole history and without remembering anything but the probe."""
    done = [call for call in all_calls if call.took_ms is not None and call.sent_ms + call.took_ms <= now_ms]
    still_open = [call for call in all_calls if call not in done and call.sent_ms <= now_ms]
    last_answers = sorted(done, key=lambda call: call.sent_ms + (call.took_ms or 0))[-5:]
    recent = [call for call in last_answers if now_ms - call.sent_ms - (call.took_ms or 0) <= 60_000]
    if still_open:
        heard_ms = max((call.sent_ms + (call.took_ms or 0) for call in done), default=0)
        silent_ms = now_ms - max(heard_ms, min(call.sent_ms for call in still_open))
        usual_ms = median([call.took_ms or 0 for call in recent]) if recent else 0
        limit_ms = max(3_000, min(4 * usual_ms, 15_000))
        if silent_ms >= limit_ms:
            is_dead = probed_ms is not None and now_ms - probed_ms >= limit_ms
            return Verdict.DEAD if is_dead else Verdict.SUSPECT
    paces = [(call.sent_ms, call.took_ms or 0) for call in recent]
    paces += [(call.sent_ms, now_ms - call.sent_ms) for call in still_open if now_ms - call.sent_ms >= 1_000]
    latest = [took_ms for _, took_ms in sorted(paces)[-5:]]
    border_ms = 1_000 if was_ready else 500
    return Verdict.SLOW if len(latest) >= 3 and median(latest) >= border_ms else Verdict.READY


@settings(deadline=None)
@given(calls)
def test_the_verdict_is_that_of_the_whole_history(all_calls: list[Call]) -> None:
    # Different times of answering, so that their order is no matter of taste.
    ends = {call.sent_ms + call.took_ms for call in all_calls if call.took_ms is not None}
    starts = {call.sent_ms for call in all_calls}
    if len(ends) + len(starts) < len(all_calls) + sum(call.took_ms is not None for call in all_calls):
        return
    events = sorted(
        [(call.sent_ms, 0, number) for number, call in enumerate(all_calls)]
        + [(call.sent_ms + call.took_ms, 1, number) for number, call in enumerate(all_calls) if call.took_ms]
    )
    health = Health(TIMEOUTS, 0)
    before, probed_ms = Verdict.READY, None
    for now_ms in range(500, 70_000, 500):
        while events and events[0][0] <= now_ms:
            time_ms, is_answer, number = events.pop(0)
            if is_answer:
                health.heard(time_ms * MS)
                health.answered(number, time_ms * MS)
            else:
                health.sent(number, time_ms * MS)
        advice = health.check(now_ms * MS)
        expected = expected_verdict(all_calls, now_ms, probed_ms, was_ready=before is Verdict.READY)
        assert health.verdict is expected, now_ms
        assert (advice is Action.ABANDON) == (expected is Verdict.DEAD)
        if expected is Verdict.DEAD:
            return  # nobody asks again
        if expected is Verdict.SUSPECT:
            assert (advice is Action.PING) == (probed_ms is None), "suspicion asks, once"
            probed_ms = now_ms if probed_ms is None else probed_ms
        else:
            probed_ms = None
        before = expected

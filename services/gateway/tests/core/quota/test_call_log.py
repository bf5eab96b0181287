"""The log of calls against a plain list of calls that is recounted from the start each time."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.gateway.core.quota.call_log import NEVER_NS, CallLog

S = 10**9


def landed(log: CallLog, now_ns: int, calls: int = 1) -> None:
    for _ in range(calls):
        log.start()
        log.land(now_ns)


def test_a_call_counts_from_its_sending_until_a_window_after_its_answer() -> None:
    log = CallLog((60,))
    log.start()
    assert log.used(0, 1000 * S) == 1
    log.land(1000 * S)
    assert log.used(0, 1060 * S) == 1
    assert log.used(0, 1000 * S + log.lengths_ns[0]) == 0


def test_a_window_outlasts_that_of_a_server_whose_clock_is_slow_by_two_ten_thousandths() -> None:
    for window_s, length_ns in zip((1, 60, 3600), CallLog((1, 60, 3600)).lengths_ns, strict=True):
        assert length_ns * (10_000 - 2) // 10_000 >= window_s * S


def test_a_call_that_was_not_sent_counts_no_more() -> None:
    log = CallLog((60,))
    log.start()
    log.unsent()
    assert log.used(0, 0) == 0


def test_a_lost_call_counts_as_if_it_were_answered_when_its_frame_can_come_no_more() -> None:
    log = CallLog((60,))
    log.start()
    log.lose(5 * S)
    assert log.freed_ns(0, 1, 0) == NEVER_NS
    assert log.used(0, 5 * S) == 1
    assert log.freed_ns(0, 1, 5 * S) == 5 * S + log.lengths_ns[0]


def test_it_tells_when_so_many_calls_will_have_returned() -> None:
    log = CallLog((10, 60))
    for at_s in (1, 2, 3):
        landed(log, at_s * S)
    log.start()
    assert log.freed_ns(0, 0, 4 * S) == 4 * S
    assert [log.freed_ns(0, calls, 4 * S) for calls in (1, 3)] == [log.lengths_ns[0] + S, log.lengths_ns[0] + 3 * S]
    assert log.freed_ns(0, 4, 4 * S) == NEVER_NS


def test_calls_of_an_earlier_run_count_from_when_they_had_landed() -> None:
    log = CallLog((60,))
    log.recall(10 * S, 3, 40 * S)
    log.recall(42 * S, 2, 40 * S)
    assert [log.used(0, at_s * S) for at_s in (40, 71, 103)] == [5, 2, 0]


def test_an_hour_of_silence_after_a_busy_one_is_survived() -> None:
    log = CallLog((60, 3600))
    for second in range(8192):
        landed(log, second * S)
    assert log.used(0, 8192 * S) == 60
    quiet_ns = (8192 + 3700) * S
    assert [log.used(1, quiet_ns), log.used(0, quiet_ns)] == [0, 0]
    landed(log, quiet_ns)
    assert [log.used(0, quiet_ns), log.used(1, quiet_ns)] == [1, 1]


def test_a_log_that_nobody_reads_forgets_old_calls_all_the_same() -> None:
    log = CallLog((1, 10))
    for tenth in range(50_000):
        landed(log, tenth * S // 10)
    assert len(log.landed) < 1000


@dataclass(eq=False)
class Call:
    """What the oracle knows: a call counts while it is under way, and then for a window."""

    over_ns: int | None = None

    def counts(self, now_ns: int, length_ns: int) -> bool:
        return self.over_ns is None or now_ns < self.over_ns or now_ns - self.over_ns < length_ns


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["start", "land", "lose", "unsent", "read"]), st.integers(0, 9 * S)), max_size=150
    ),
    st.sampled_from([(5,), (5, 60), (7, 20, 90)]),
)
def test_it_counts_what_a_recount_counts(events: list[tuple[str, int]], windows_s: tuple[int, ...]) -> None:
    log, calls, under_way, now_ns = CallLog(windows_s), list[Call](), list[Call](), 0
    for event, pause_ns in events:
        now_ns += pause_ns
        if event == "start":
            log.start()
            under_way.append(Call())
            calls.append(under_way[-1])
        elif under_way and event == "land":
            log.land(now_ns)
            under_way.pop(0).over_ns = now_ns
        elif under_way and event == "lose":
            log.lose(now_ns + 5 * S)
            under_way.pop(0).over_ns = now_ns + 5 * S
        elif under_way and event == "unsent":
            log.unsent()
            calls.remove(under_way.pop())
        elif event == "read":
            for window, length_ns in enumerate(log.lengths_ns):
                assert log.used(window, now_ns) == sum(call.counts(now_ns, length_ns) for call in calls)
    for window, length_ns in enumerate(log.lengths_ns):
        assert log.used(window, now_ns) == sum(call.counts(now_ns, length_ns) for call in calls)

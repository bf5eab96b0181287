"""Counting windows against a slow count of all that ever happened."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.simulator.core.windows import LinkedWindows, Window, WindowKind

NS = 1_000_000_000


def hits_from_first(times_ns: list[int], span_ns: int, now_ns: int) -> int:
    """Cut the whole past into windows that each start with a hit, and count the last one if it still runs."""
    windows: list[list[int]] = []
    for time_ns in times_ns:
        if windows and time_ns < windows[-1][0] + span_ns:
            windows[-1].append(time_ns)
        else:
            windows.append([time_ns])
    return len(windows[-1]) if windows and now_ns < windows[-1][0] + span_ns else 0


def hits_aligned(times_ns: list[int], span_ns: int, now_ns: int) -> int:
    start_ns = now_ns - now_ns % span_ns
    return sum(start_ns <= time_ns for time_ns in times_ns)


def hits_sliding(times_ns: list[int], span_ns: int, now_ns: int) -> int:
    return sum(now_ns - time_ns < span_ns for time_ns in times_ns)


ORACLES = {
    WindowKind.FIXED_FROM_FIRST_HIT: hits_from_first,
    WindowKind.FIXED_ALIGNED: hits_aligned,
    WindowKind.SLIDING: hits_sliding,
}
PAUSES = st.lists(st.sampled_from([0, 1, NS // 2, NS, 3 * NS, 7 * NS, 10 * NS - 1, 10 * NS, 40 * NS]), max_size=80)


@pytest.mark.parametrize("kind", WindowKind)
@given(pauses=PAUSES, most=st.tuples(st.integers(1, 4), st.integers(1, 9)), count_refused=st.booleans())
def test_linked_windows_admit_what_a_slow_count_admits(
    kind: WindowKind, pauses: list[int], most: tuple[int, int], count_refused: bool
) -> None:
    spans_s = (10, 35)
    windows = LinkedWindows(kind, dict(zip(spans_s, most, strict=True)), count_refused=count_refused)
    counted: list[int] = []
    for now_ns in accumulate(pauses, initial=5 * NS):
        room = all(
            ORACLES[kind](counted, span_s * NS, now_ns) < size for span_s, size in zip(spans_s, most, strict=True)
        )
        assert windows.admit(now_ns) is room
        if room or count_refused:
            counted.append(now_ns)


def test_a_window_from_the_first_hit_forgets_all_at_once() -> None:
    window = Window(WindowKind.FIXED_FROM_FIRST_HIT, 60 * NS, 2)
    window.hit(10 * NS)
    window.hit(69 * NS)
    assert not window.has_room(70 * NS - 1)
    assert window.hits(70 * NS) == 0


def test_an_aligned_window_forgets_at_the_full_minute() -> None:
    window = Window(WindowKind.FIXED_ALIGNED, 60 * NS, 1)
    window.hit(59 * NS)
    assert window.has_room(60 * NS)


def test_a_sliding_window_forgets_hit_by_hit() -> None:
    window = Window(WindowKind.SLIDING, 60 * NS, 2)
    window.hit(10 * NS)
    window.hit(50 * NS)
    assert not window.has_room(70 * NS - 1)
    assert window.hits(70 * NS) == 1


def test_a_call_that_one_window_refuses_takes_nothing_from_the_other() -> None:
    windows = LinkedWindows(WindowKind.SLIDING, {10: 1, 100: 3}, count_refused=False)
    assert [windows.admit(now_s * NS) for now_s in (0, 1, 2, 10, 20, 30)] == [True, False, False, True, True, False]


def test_refused_calls_that_count_keep_a_sliding_window_shut() -> None:
    windows = LinkedWindows(WindowKind.SLIDING, {10: 1}, count_refused=True)
    assert [windows.admit(now_s * NS) for now_s in (0, 9, 18, 28)] == [True, False, False, True]

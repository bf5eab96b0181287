"""The clock's experiment against servers whose clock is known."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.probe.core.findings import Confidence
from derivfleet.probe.core.offset import TimeSample, conclude_offset, offset_course

if TYPE_CHECKING:
    from collections.abc import Sequence

S = 1_000_000_000
MS = 1_000_000
T0 = 1_795_161_600 * S + 777_000_001


def sampled(ahead_ns: int, delays_ns: Sequence[int], questions: int = 12) -> list[TimeSample]:
    """Ask a server that is so much ahead, over a line with these delays."""
    delays = cycle(delays_ns)
    samples: list[TimeSample] = []
    experiment = offset_course(questions)
    at_ns: int | None = next(experiment)
    now_ns = T0
    while at_ns is not None:
        sent_ns = max(now_ns, at_ns)
        reads_ns = sent_ns + next(delays)
        now_ns = reads_ns + next(delays)
        samples.append(TimeSample(sent_ns, now_ns, (reads_ns + ahead_ns) // S))
        try:
            at_ns = experiment.send(samples[-1])
        except StopIteration:
            at_ns = None
    return samples


offsets = st.integers(-3600 * S, 3600 * S)


@settings(deadline=None)
@given(ahead_ns=offsets, delays_ns=st.lists(st.integers(0, 3 * S), min_size=1, max_size=7))
def test_the_true_offset_is_always_within_the_bounds(ahead_ns: int, delays_ns: list[int]) -> None:
    (found,) = conclude_offset(sampled(ahead_ns, delays_ns)).values
    assert found.low_ns <= ahead_ns <= found.high_ns
    assert abs(found.middle_ns - ahead_ns) <= found.error_ns


@settings(deadline=None)
@given(ahead_ns=offsets, there_ns=st.integers(MS, 200 * MS), back_ns=st.integers(MS, 200 * MS))
def test_twelve_answers_bring_the_error_down_to_the_length_of_the_way(
    ahead_ns: int, there_ns: int, back_ns: int
) -> None:
    found = conclude_offset(sampled(ahead_ns, (there_ns, back_ns)))
    assert found.confidence is Confidence.MEASURED
    assert found.values[0].error_ns <= (there_ns + back_ns) // 2 + 5 * MS


def test_the_questions_take_about_a_second_each() -> None:
    samples = sampled(0, (50 * MS, 50 * MS))
    assert len(samples) == 12
    assert samples[-1].answered_ns - samples[0].sent_ns < 13 * S


def test_one_answer_leaves_a_second_open() -> None:
    found = conclude_offset(sampled(0, (50 * MS, 50 * MS), questions=1))
    assert found.confidence is Confidence.CONSISTENT
    assert found.values[0].error_ns == 550 * MS


def test_a_clock_that_was_set_meanwhile_was_not_measured() -> None:
    samples = [TimeSample(T0, T0 + MS, T0 // S), TimeSample(T0 + S, T0 + S + MS, T0 // S + 30)]
    found = conclude_offset(samples)
    assert found.values == ()
    assert "contradict" in found.because
    assert conclude_offset([]).values == ()
    # And the experiment ends there.
    experiment = offset_course(12)
    next(experiment)
    experiment.send(samples[0])
    with pytest.raises(StopIteration):
        experiment.send(samples[1])

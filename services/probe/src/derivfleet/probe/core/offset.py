"""How far a server's clock is ahead of ours, from its own time in whole seconds.

Each answer bounds the offset: the server read its clock between our question and its answer, and it was within the
second that it named. The bounds of all answers hold at once. The next question is timed to arrive when the server's
second is about to change, so that its answer halves what is left, until that is as short as the way of a question.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from derivfleet.probe.core.findings import Confidence, Finding, unknown
from derivfleet.probe.core.theories import NS_PER_S, Span

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

__all__ = ["TimeSample", "conclude_offset", "offset_course"]

CLEAR_NS = NS_PER_S // 4
"""An offset with a larger error was not measured: the first answer alone is better than twice this."""


@dataclass(frozen=True, slots=True)
class TimeSample:
    """When we asked and had the answer, and what second the server named."""

    sent_ns: int
    answered_ns: int
    their_s: int


def bounds_of(samples: Sequence[TimeSample]) -> Span | None:
    """The offsets that all answers allow; None if they contradict each other."""
    low_ns = max(sample.their_s * NS_PER_S - sample.answered_ns for sample in samples)
    high_ns = min((sample.their_s + 1) * NS_PER_S - sample.sent_ns for sample in samples)
    return Span(low_ns, high_ns) if low_ns <= high_ns else None


def offset_course(questions: int) -> Generator[int, TimeSample, None]:
    """When to ask for the time, in nanoseconds of our clock; each is answered with what came of it."""
    samples = [(yield 0)]
    while len(samples) < questions:
        bounds = bounds_of(samples)
        if bounds is None:
            return
        there_ns = min(sample.answered_ns - sample.sent_ns for sample in samples) // 2
        ready_ns = samples[-1].answered_ns + there_ns + bounds.middle_ns
        changes_ns = -(-ready_ns // NS_PER_S) * NS_PER_S
        samples.append((yield changes_ns - bounds.middle_ns - there_ns))


def conclude_offset(samples: Sequence[TimeSample]) -> Finding[Span]:
    """What the answers prove."""
    if not samples:
        return unknown("the server did not tell its time")
    bounds = bounds_of(samples)
    if bounds is None:
        return unknown(f"{len(samples)} answers contradict each other: a clock was set while they were asked")
    confidence = Confidence.MEASURED if bounds.error_ns <= CLEAR_NS else Confidence.CONSISTENT
    return Finding(confidence, (bounds,), f"{len(samples)} answers")

"""How a server may count calls, and which of these theories a series of calls is at odds with.

A call was counted at some instant between its sending and its answer; nothing more is assumed about delays. A theory
falls only if no such instants, no limit and no length of window near a minute can explain what was seen. So the truth
never falls, and a lone survivor is the truth if the truth is among the theories.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ANY_OFFSET",
    "NS_PER_S",
    "THEORIES",
    "TOLERANCE_NS",
    "WINDOW_NS",
    "LimitRange",
    "Sighting",
    "Span",
    "Theory",
    "WindowKind",
    "limits_under",
]

NS_PER_S = 1_000_000_000
WINDOW_NS = 60 * NS_PER_S
TOLERANCE_NS = NS_PER_S
"""How much longer or shorter than a minute a server's window may be: some count in whole seconds."""


class WindowKind(StrEnum):
    """How a window's time is cut."""

    FIXED_FROM_FIRST_HIT = "fixed_from_first_hit"
    """It starts with the first call and ends a minute later; the next call starts another."""
    FIXED_ALIGNED = "fixed_aligned"
    """It starts at every full minute of the server's clock."""
    SLIDING = "sliding"
    """It is always the last minute: each call counts until exactly a minute has passed."""

    @property
    def is_fixed(self) -> bool:
        """Whether all calls of a window are forgotten at once."""
        return self is not WindowKind.SLIDING


@dataclass(frozen=True, slots=True)
class Theory:
    """A kind of window, and whether refused calls count in it."""

    kind: WindowKind
    counts_refused: bool


THEORIES = tuple(Theory(kind, counts) for kind, counts in product(WindowKind, (False, True)))


@dataclass(frozen=True, slots=True)
class Sighting:
    """One call: when it left, when its answer was there (our clock), whether it was let through, on which socket."""

    sent_ns: int
    answered_ns: int
    accepted: bool
    socket: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """A length of time that is known to lie between two bounds."""

    low_ns: int
    high_ns: int

    @property
    def middle_ns(self) -> int:
        return (self.low_ns + self.high_ns) // 2

    @property
    def error_ns(self) -> int:
        """How far the middle may be wrong."""
        return (self.high_ns - self.low_ns + 1) // 2


ANY_OFFSET = Span(-WINDOW_NS // 2, WINDOW_NS // 2)
"""A server's clock of which nothing is known: its minutes may begin anywhere in ours."""


@dataclass(frozen=True, slots=True)
class LimitRange:
    """Limits that are possible, both ends included."""

    least: int = 1
    most: int = 1_000_000_000

    def after(self, counted: int, *, accepted: bool) -> LimitRange | None:
        """What is left after a call that came on top of so many; None if nothing is."""
        least = max(self.least, counted + 1) if accepted else self.least
        most = self.most if accepted else min(self.most, counted)
        return LimitRange(least, most) if least <= most else None


def limits_under(theory: Theory, seen: Sequence[Sighting], offset: Span) -> LimitRange | None:
    """The limits under which a theory explains what was seen; None if there is none: the theory is wrong.

    ``seen`` is all that was counted, in order, none sent before the answer of the one before, beginning with nothing
    that counts. ``offset`` is what the server's clock is ahead of ours.
    """
    match theory.kind:
        case WindowKind.SLIDING:
            return _under_sliding(seen, counts_refused=theory.counts_refused)
        case WindowKind.FIXED_FROM_FIRST_HIT:
            return _under_first_hit(seen)
        case WindowKind.FIXED_ALIGNED:
            return _under_aligned(seen, offset)


def _under_sliding(seen: Sequence[Sighting], *, counts_refused: bool) -> LimitRange | None:
    limits = LimitRange()
    sent: list[int] = []
    answered: list[int] = []
    for call in seen:
        # Of the earlier ones: those that are certainly within the window, and those that may be.
        surely = len(sent) - bisect_right(sent, call.answered_ns - WINDOW_NS + TOLERANCE_NS)
        perhaps = len(answered) - bisect_left(answered, call.sent_ns - WINDOW_NS - TOLERANCE_NS)
        left = limits.after(surely if call.accepted else perhaps, accepted=call.accepted)
        if left is None:
            return None
        limits = left
        if call.accepted or counts_refused:
            sent.append(call.sent_ns)
            answered.append(call.answered_ns)
    return limits


@dataclass(frozen=True, slots=True)
class _Course:
    """One way in which fixed windows may have run so far."""

    window: Span
    """When the present one began, or its number twice if windows are aligned."""
    counted: int
    limits: LimitRange

    def after(self, call: Sighting, window: Span | None = None) -> _Course | None:
        """With one more call, in this window or in a new one. A full fixed window stays full, so the refused ones
        need not be counted.
        """
        counted = self.counted if window is None else 0
        limits = self.limits.after(counted, accepted=call.accepted)
        return limits and _Course(window or self.window, counted + call.accepted, limits)


def _under_first_hit(seen: Sequence[Sighting]) -> LimitRange | None:
    long_ago = Span(-(10**30), -(10**30))
    courses = {_Course(long_ago, 0, LimitRange())}
    for call in seen:
        new: set[_Course | None] = set()
        for course in courses:
            if call.sent_ns <= course.window.high_ns + WINDOW_NS + TOLERANCE_NS:
                new.add(course.after(call))
            if call.answered_ns >= course.window.low_ns + WINDOW_NS - TOLERANCE_NS:
                new.add(course.after(call, Span(call.sent_ns, call.answered_ns)))
        courses = {course for course in new if course is not None}
    return _all_of(courses)


def _under_aligned(seen: Sequence[Sighting], offset: Span) -> LimitRange | None:
    courses = {_Course(Span(-(10**30), -(10**30)), 0, LimitRange())}
    for call in seen:
        first = (call.sent_ns + offset.low_ns - TOLERANCE_NS) // WINDOW_NS
        last = (call.answered_ns + offset.high_ns + TOLERANCE_NS) // WINDOW_NS
        new: set[_Course | None] = set()
        for course, number in product(courses, range(first, last + 1)):
            if number == course.window.low_ns:
                new.add(course.after(call))
            elif number > course.window.low_ns:
                new.add(course.after(call, Span(number, number)))
        courses = {course for course in new if course is not None}
    return _all_of(courses)


def _all_of(courses: set[_Course]) -> LimitRange | None:
    if not courses:
        return None
    return LimitRange(min(course.limits.least for course in courses), max(course.limits.most for course in courses))

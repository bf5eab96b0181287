"""Which kind of window a bucket is counted in, how many calls it admits, what refused calls do, and whose calls count.

A few calls early, the rest of the limit later, then calls that are refused; after that one asks when, by each theory,
calls should be let through again. What is let through, and how much of it, tells the theories apart::

    early           rest, refused ones       a full minute of      the first call    the rest
    ● ●  ····  ● ● ● ● ● ● ● ○ ○ ○ ····      the server's clock    is a minute old   is
    0 s         12 s                         about 45 s            60 s              72 s
                                             aligned: all again    first hit: all    refused ones count:
                                                                   sliding: early    only now some
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from derivfleet.probe.core.findings import Confidence, Finding, unknown
from derivfleet.probe.core.theories import (
    NS_PER_S,
    THEORIES,
    TOLERANCE_NS,
    WINDOW_NS,
    LimitRange,
    Sighting,
    Theory,
    WindowKind,
    limits_under,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from derivfleet.probe.core.theories import Span

__all__ = ["Ask", "WindowFindings", "conclude", "course", "hour_course", "most_calls", "refused_in_hour"]

FIRST_SOCKET, SECOND_SOCKET = 0, 1
ROUNDS = 2
"""The second one knows the limit, and divides it better; and a call of somebody else's that spoiled the first does not
spoil both alike."""
MOST_EARLY = 5
LATER_NS = 12 * NS_PER_S
BETWEEN_REFUSED_NS = 4 * NS_PER_S // 10
BEFORE_NS = 2 * TOLERANCE_NS + NS_PER_S // 2
"""So long before the latest moment at which a window may end it surely has not ended."""
BEGIN_S = (10, 20)
"""The seconds of the server's minute in which to begin, so that its next one begins well before ours is over."""
QUIET_NS = WINDOW_NS + TOLERANCE_NS
"""After so long nothing counts any more, whatever the kind of window."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Make the call at this instant, or at once if it has passed."""

    at_ns: int
    socket: int = FIRST_SOCKET


@dataclass(frozen=True, slots=True)
class WindowFindings:
    """What is known of a bucket's minute."""

    kind: Finding[WindowKind]
    limit: Finding[int]
    counts_refused: Finding[bool]
    is_shared: Finding[bool]
    """Whether the calls of both sockets of the account are counted together."""


def most_calls(expected: int) -> int:
    """How many calls an experiment may take before it is broken off; about two and a half times the limit is usual."""
    return 8 * expected + 40


def _most_to_limit(expected: int) -> int:
    """How many calls are made in search of a limit."""
    return 2 * expected + 10


def course(expected: int, offset: Span, from_ns: int, sockets: int) -> Generator[Ask, Sighting, None]:
    """The experiment: ends when one theory is left, or when more calls would tell nothing more.

    ``expected`` is the published limit, ``offset`` what the server's clock is ahead of ours. Nothing that was called
    before may count at ``from_ns`` (QUIET_NS after the last one). With two sockets it also learns whose calls count.
    """
    seen: list[Sighting] = []
    limit = expected
    for number in range(ROUNDS):
        begin = len(seen)
        with_second = sockets > 1 and number == 0
        yield from _round(seen, limit, _most_to_limit(expected), offset, from_ns, with_second=with_second)
        ours = seen[begin:]
        refused = next((index for index, call in enumerate(ours) if not call.accepted), 0)
        if refused == 0 or not _survivors(seen, offset):
            return
        limit = refused
        from_ns = seen[-1].answered_ns + QUIET_NS


def _round(
    seen: list[Sighting], limit: int, most: int, offset: Span, from_ns: int, *, with_second: bool
) -> Generator[Ask, Sighting, None]:
    early = max(1, min(MOST_EARLY, limit // 3))
    begin_ns = _good_beginning(from_ns, offset)
    first = yield from _ask(seen, begin_ns)
    if first.accepted and (yield from _until_refused(seen, begin_ns, early - 1)):
        later_ns = first.answered_ns + LATER_NS
        if (yield from _until_refused(seen, later_ns, most - early)):
            return  # no limit was met
    rest_ns = max((call.answered_ns for call in seen if call.accepted), default=first.answered_ns)
    if with_second:
        yield from _ask(seen, begin_ns, SECOND_SOCKET)
        yield from _ask(seen, begin_ns)
    for _ in range(early + 1):
        yield from _ask(seen, seen[-1].answered_ns + BETWEEN_REFUSED_NS)
    moments_ns = [
        _next_minute(seen[-1].answered_ns, offset),
        first.answered_ns + WINDOW_NS + TOLERANCE_NS,
        rest_ns + WINDOW_NS + TOLERANCE_NS,
    ]
    for moment_ns in sorted(moments_ns):
        # Just before, for what was let through already then is let through for another reason.
        yield from _ask(seen, moment_ns - BEFORE_NS)
        # To the limit again: what is let through must be all of it, or as much as was called early.
        yield from _until_refused(seen, moment_ns, most)
        if _is_settled(seen, offset):
            return
    yield from _until_refused(seen, seen[-1].answered_ns + QUIET_NS, most)


def _ask(seen: list[Sighting], at_ns: int, socket: int = FIRST_SOCKET) -> Generator[Ask, Sighting, Sighting]:
    call = yield Ask(at_ns, socket)
    seen.append(call)
    return call


def _until_refused(seen: list[Sighting], at_ns: int, most: int) -> Generator[Ask, Sighting, bool]:
    """Ask again and again; returns whether all were let through."""
    for _ in range(most):
        call = yield from _ask(seen, at_ns)
        if not call.accepted:
            return False
    return True


def _good_beginning(from_ns: int, offset: Span) -> int:
    earliest_ns, latest_ns = (second * NS_PER_S for second in BEGIN_S)
    into_minute_ns = (from_ns + offset.middle_ns) % WINDOW_NS
    if earliest_ns <= into_minute_ns <= latest_ns:
        return from_ns
    return from_ns + (earliest_ns - into_minute_ns) % WINDOW_NS


def _next_minute(after_ns: int, offset: Span) -> int:
    """When the server's next minute has certainly begun."""
    begins_ns = -(-(after_ns + offset.middle_ns) // WINDOW_NS) * WINDOW_NS
    return begins_ns - offset.low_ns + TOLERANCE_NS


def hour_course(calls: int) -> Generator[Ask, Sighting, None]:
    """Make so many calls at once, most of which will be refused, and one more when their minute has passed.

    If that one is refused, a longer window is full; see :func:`refused_in_hour`.
    """
    seen: list[Sighting] = []
    for _ in range(calls):
        yield from _ask(seen, 0)
    yield from _ask(seen, seen[-1].answered_ns + QUIET_NS)


def refused_in_hour(before: int, seen: Sequence[Sighting], documented: int) -> Finding[bool]:
    """What the course of an hour tells of refused calls, if the hour's documented limit is true.

    ``before`` says how many calls of the bucket went before.
    """
    if len(seen) < 2 or seen[-1].sent_ns - seen[-2].answered_ns < QUIET_NS - TOLERANCE_NS:  # noqa: PLR2004 - one more call, after others
        return unknown("broken off")
    accepted = before + sum(call.accepted for call in seen[:-1])
    total = before + len(seen) - 1
    if not seen[-1].accepted and accepted < documented:
        because = f"after {total} calls, {accepted} of them let through, the hour's limit of {documented} was met"
        return Finding(Confidence.CONSISTENT, (True,), because)
    if seen[-1].accepted and total >= documented > accepted:
        because = f"after {total} calls, {accepted} of them let through, the hour's limit of {documented} was not met"
        return Finding(Confidence.CONSISTENT, (False,), because)
    return unknown(f"{total} calls, {accepted} of them let through, say nothing about a limit of {documented}")


def conclude(seen: Sequence[Sighting], offset: Span) -> WindowFindings:
    """What a series of calls proves, be it whole or broken off."""
    shared = _sharing(seen, offset)
    refusals = sum(not call.accepted for call in seen)
    if not seen:
        return WindowFindings(*(unknown("broken off") for _ in range(4)))
    survivors = _survivors(seen, offset)
    if not refusals:
        because = f"{len(seen)} calls were let through and none refused"
        least = min(limits.least for limits in survivors.values())
        at_least = Finding(Confidence.CONSISTENT, (least,), f"at least: {because}")
        return WindowFindings(unknown(because), at_least, unknown(because), shared)
    if not survivors:
        because = "no known kind of window explains what was seen; does something else use this account?"
        return WindowFindings(unknown(because), unknown(because), unknown(because), shared)
    because = f"{len(seen)} calls, {refusals} of them refused"
    if not _has_recovered(seen):
        because = f"no call was let through again; {because}"
    kinds = tuple(dict.fromkeys(theory.kind for theory in survivors))
    is_certain = _has_recovered(seen) and len(kinds) == 1
    kind = Finding(Confidence.MEASURED if is_certain else Confidence.CONSISTENT, kinds, because)
    return WindowFindings(kind, _limit(survivors, because), _refused(survivors, kind), shared)


def _survivors(seen: Sequence[Sighting], offset: Span) -> dict[Theory, LimitRange]:
    """The theories that explain what was seen, with the limits under which they do."""
    first = [call for call in seen if call.socket == FIRST_SOCKET]
    match _sharing(seen, offset).values:
        case (True,):
            countings = (seen,)
        case (False,):
            countings = (first,)
        case _:
            countings = (seen, first)
    found: dict[Theory, LimitRange] = {}
    for theory in THEORIES:
        ranges = [limits for calls in countings if (limits := limits_under(theory, calls, offset)) is not None]
        if ranges:
            found[theory] = LimitRange(min(one.least for one in ranges), max(one.most for one in ranges))
    return found


def _has_recovered(seen: Sequence[Sighting]) -> bool:
    """Whether a call was let through after one had been refused, on the same socket: what follows a refusal for ever
    is no window of a minute.
    """
    first = [call.accepted for call in seen if call.socket == FIRST_SOCKET]
    return False in first and True in first[first.index(False) :]


def _is_settled(seen: Sequence[Sighting], offset: Span) -> bool:
    survivors = _survivors(seen, offset)
    if not survivors:
        return True
    kinds = {theory.kind for theory in survivors}
    return _has_recovered(seen) and (len(survivors) == 1 or (len(kinds) == 1 and kinds.pop().is_fixed))


def _may_have_ended(seen: Sequence[Sighting], offset: Span, from_ns: int, until_ns: int) -> bool:
    """Whether a call may have come to count no more within a span of our clock, whatever the kind of window."""
    if any(
        call.sent_ns + WINDOW_NS - TOLERANCE_NS <= until_ns and call.answered_ns + WINDOW_NS + TOLERANCE_NS >= from_ns
        for call in seen
    ):
        return True
    first, last = (
        (at_ns + TOLERANCE_NS * sign) // WINDOW_NS
        for at_ns, sign in ((from_ns + offset.low_ns, -1), (until_ns + offset.high_ns, 1))
    )
    return first != last


def _limit(survivors: dict[Theory, LimitRange], because: str) -> Finding[int]:
    least = min(limits.least for limits in survivors.values())
    most = max(limits.most for limits in survivors.values())
    if least == most:
        return Finding(Confidence.MEASURED, (least,), because)
    return Finding(Confidence.CONSISTENT, (least, most), f"between the two; {because}")


def _refused(survivors: dict[Theory, LimitRange], kind: Finding[WindowKind]) -> Finding[bool]:
    answers = tuple(dict.fromkeys(theory.counts_refused for theory in survivors))
    if kind.value is not None and kind.value.is_fixed:
        because = "a full window that is fixed ends when it ends: only an hour's window could tell"
        return Finding(Confidence.CONSISTENT, answers, because)
    because = "asking on while refused delayed the next call" if answers == (True,) else kind.because
    if answers == (False,):
        because = "asking on while refused delayed nothing"
    is_certain = len(answers) == 1 and kind.confidence is Confidence.MEASURED
    return Finding(Confidence.MEASURED if is_certain else Confidence.CONSISTENT, answers, because)


def _sharing(seen: Sequence[Sighting], offset: Span) -> Finding[bool]:
    """What a call on the second socket tells, made between two on the first that were refused."""
    for before, call, after in zip(seen, seen[1:], seen[2:], strict=False):
        if call.socket == SECOND_SOCKET and not before.accepted and not after.accepted:
            if call.accepted and _may_have_ended(seen, offset, before.sent_ns, call.answered_ns):
                continue  # room may have come between, and been taken by this call
            if call.accepted:
                because = "a second socket was let through while the first was refused"
                return Finding(Confidence.MEASURED, (False,), because)
            because = "a second socket, which had made no such call, was refused as well"
            return Finding(Confidence.MEASURED, (True,), because)
    return unknown("no second socket was tried while the first was refused")

"""The window's experiment against a server that counts as its definition reads: anew each time, from all calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from derivfleet.probe.core.findings import Confidence
from derivfleet.probe.core.theories import ANY_OFFSET, Sighting, Span, WindowKind
from derivfleet.probe.core.windows import (
    QUIET_NS,
    Ask,
    WindowFindings,
    conclude,
    course,
    hour_course,
    most_calls,
    refused_in_hour,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

S = 1_000_000_000
MS = 1_000_000
T0 = 1_795_161_600 * S + 123_456_789
EXPECTED = 30
MEASURED = Confidence.MEASURED
KINDS = list(WindowKind)


class Counting(Protocol):
    def admits(self, now_ns: int, socket: int) -> bool: ...


@dataclass
class Server:
    """Counts as it is told to. Its clock is ``ahead_ns`` ahead of the caller's."""

    kind: WindowKind
    limit: int
    counts_refused: bool = False
    ahead_ns: int = 0
    window_ns: int = 60 * S
    per_socket: bool = False
    hour: int = 10**9
    hits: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """When, by its own clock, and on which socket."""

    def admits(self, now_ns: int, socket: int) -> bool:
        now_ns += self.ahead_ns
        mine = [at for at, on in self.hits if not self.per_socket or on == socket]
        admitted = self._in_window(mine, now_ns) < self.limit and len(mine) < self.hour
        if admitted or self.counts_refused:
            self.hits.append((now_ns, socket))
        return admitted

    def _in_window(self, hits: list[int], now_ns: int) -> int:
        if self.kind is WindowKind.SLIDING:
            return sum(now_ns - at < self.window_ns for at in hits)
        if self.kind is WindowKind.FIXED_ALIGNED:
            return sum(at // (60 * S) == now_ns // (60 * S) for at in hits)
        first = size = 0
        for at in hits:
            if size == 0 or at - first >= self.window_ns:
                first, size = at, 0
            size += 1
        return size if now_ns - first < self.window_ns else 0


def drive(
    experiment: Generator[Ask, Sighting, None],
    server: Counting,
    delays_ns: Sequence[int] = (0,),
    most: int = 10**6,
    meanwhile: Callable[[int, int], None] = lambda _from_ns, _to_ns: None,
) -> list[Sighting]:
    """Let an experiment run over a line with these delays, there and back in turn; break it off after ``most``."""
    delays = cycle(delays_ns)
    seen: list[Sighting] = []
    now_ns = T0
    ask = next(experiment, None)
    while ask is not None and len(seen) < most:
        sent_ns = max(now_ns, ask.at_ns)
        arrives_ns = sent_ns + next(delays)
        meanwhile(now_ns, arrives_ns)
        accepted = server.admits(arrives_ns, ask.socket)
        now_ns = arrives_ns + next(delays)
        seen.append(Sighting(sent_ns, now_ns, accepted, ask.socket))
        try:
            ask = experiment.send(seen[-1])
        except StopIteration:
            ask = None
    return seen


def probed(
    server: Server, delays_ns: Sequence[int] = (40 * MS, 60 * MS), error_ns: int = 50 * MS, most: int = 10**6
) -> WindowFindings:
    offset = Span(server.ahead_ns - error_ns, server.ahead_ns + error_ns)
    return conclude(drive(course(EXPECTED, offset, T0, 2), server, delays_ns, most), offset)


def claims(found: WindowFindings) -> dict[str, object]:
    """What is said to have been measured."""
    return {
        name: finding.value
        for name, finding in (
            ("kind", found.kind),
            ("limit", found.limit),
            ("counts_refused", found.counts_refused),
            ("is_shared", found.is_shared),
        )
        if finding.value is not None
    }


def truth(server: Server) -> dict[str, object]:
    return {
        "kind": server.kind,
        "limit": server.limit,
        "counts_refused": server.counts_refused,
        "is_shared": not server.per_socket,
    }


servers = st.builds(
    Server,
    kind=st.sampled_from(KINDS),
    limit=st.integers(1, 80),
    counts_refused=st.booleans(),
    ahead_ns=st.integers(-90 * S, 90 * S),
    window_ns=st.integers(60 * S - 900 * MS, 60 * S + 900 * MS),
    per_socket=st.booleans(),
)


@settings(deadline=None, max_examples=300)
@given(
    server=servers,
    delays_ns=st.lists(st.integers(0, 8 * S), min_size=1, max_size=9),
    error_ns=st.integers(0, 5 * S),
    most=st.one_of(st.just(10**6), st.integers(1, 150)),
)
@example(  # a call of long ago stops counting while the second socket asks
    server=Server(WindowKind.SLIDING, 29, True, 0, 59_100_000_000, False),
    delays_ns=[0, 0, 0, 3_623_076_924],
    error_ns=0,
    most=10**6,
)
def test_whatever_the_line_what_is_measured_is_true(
    server: Server, delays_ns: list[int], error_ns: int, most: int
) -> None:
    found = probed(server, delays_ns, error_ns, most)
    assert claims(found).items() <= truth(server).items()
    # And the truth is never ruled out.
    for finding, value in ((found.kind, server.kind), (found.counts_refused, server.counts_refused)):
        assert not finding.values or value in finding.values
    if found.limit.values:
        assert found.limit.values[0] <= server.limit
        assert found.limit.because.startswith("at least") or server.limit <= found.limit.values[-1]


@settings(deadline=None, max_examples=100)
@given(server=servers, delays_ns=st.lists(st.integers(5 * MS, 150 * MS), min_size=1, max_size=9))
def test_over_an_ordinary_line_everything_is_found(server: Server, delays_ns: list[int]) -> None:
    server.limit = max(2, min(server.limit, 2 * EXPECTED))
    found = probed(server, delays_ns)
    expected = truth(server)
    if server.kind.is_fixed:
        # A fixed window that is full stays full until it ends: there is no difference to see within a minute.
        del expected["counts_refused"]
        assert set(found.counts_refused.values) == {False, True}
    assert claims(found) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("counts_refused", [False, True])
def test_the_published_limit_takes_one_round(kind: WindowKind, counts_refused: bool) -> None:
    server = Server(kind, EXPECTED, counts_refused)
    seen = drive(course(EXPECTED, Span(0, 0), T0, 2), server, (40 * MS, 60 * MS))
    assert len(seen) <= most_calls(EXPECTED) / 2
    assert seen[-1].answered_ns - T0 < 250 * S
    assert conclude(seen, Span(0, 0)).limit.value == EXPECTED


def test_one_call_a_minute_may_be_fixed_or_sliding_and_nothing_is_claimed() -> None:
    found = probed(Server(WindowKind.SLIDING, 1))
    assert found.kind.confidence is Confidence.CONSISTENT
    assert set(found.kind.values) == {WindowKind.FIXED_FROM_FIRST_HIT, WindowKind.SLIDING}
    assert found.limit.value == 1


def test_a_limit_far_above_the_published_one_is_not_met() -> None:
    found = probed(Server(WindowKind.SLIDING, 500))
    assert claims(found) == {}
    assert (found.limit.confidence, found.limit.values) == (Confidence.CONSISTENT, (70,))


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_servers_time_its_minutes_may_begin_at_any_moment(kind: WindowKind) -> None:
    seen = drive(course(EXPECTED, ANY_OFFSET, T0, 2), Server(kind, EXPECTED, ahead_ns=7 * S), (40 * MS, 60 * MS))
    found = conclude(seen, ANY_OFFSET)
    assert kind in found.kind.values
    if kind is WindowKind.FIXED_FROM_FIRST_HIT:
        assert found.kind.value is None


def test_with_one_socket_nothing_is_said_of_others() -> None:
    seen = drive(course(EXPECTED, Span(0, 0), T0, 1), Server(WindowKind.SLIDING, EXPECTED))
    found = conclude(seen, Span(0, 0))
    assert {call.socket for call in seen} == {0}
    assert found.is_shared.confidence is Confidence.NOT_MEASURED
    assert found.kind.value is WindowKind.SLIDING


@dataclass
class Tokens:
    """A bucket that calls empty and time fills."""

    size: int
    a_minute: int
    left: float = 0.0
    at_ns: int = 0

    def admits(self, now_ns: int, socket: int) -> bool:  # noqa: ARG002 - all sockets are one
        self.left = min(self.size, self.left + (now_ns - self.at_ns) * self.a_minute / (60 * S))
        self.at_ns = now_ns
        admitted = self.left >= 1
        self.left -= admitted
        return admitted


@dataclass
class Ban:
    """After so many calls within a minute none for a while, which asking prolongs or does not."""

    limit: int
    length_ns: int
    prolonged: bool
    hits: list[int] = field(default_factory=list[int])
    until_ns: int = 0

    def admits(self, now_ns: int, socket: int) -> bool:  # noqa: ARG002 - all sockets are one
        recent = [at for at in self.hits if now_ns - at < 60 * S]
        if now_ns < self.until_ns:
            self.until_ns = now_ns + self.length_ns if self.prolonged else self.until_ns
            return False
        if len(recent) >= self.limit:
            self.until_ns = now_ns + self.length_ns
            self.hits.clear()
            return False
        self.hits.append(now_ns)
        return True


STRANGERS = [
    *(Tokens(size, a_minute) for size, a_minute in ((30, 30), (30, 60), (10, 30), (30, 20))),
    *(Ban(EXPECTED, length_s * S, prolonged) for length_s in (5, 20, 90, 300) for prolonged in (False, True)),
]


@pytest.mark.parametrize("server", STRANGERS, ids=str)
def test_a_server_of_no_known_kind_is_not_taken_for_one(server: Counting) -> None:
    found = conclude(drive(course(EXPECTED, Span(0, 0), T0, 2), server, (40 * MS, 60 * MS)), Span(0, 0))
    assert found.kind.value is None
    assert found.kind.because


@settings(deadline=None, max_examples=100)
@given(
    kind=st.sampled_from(KINDS),
    counts_refused=st.booleans(),
    every_ns=st.integers(300 * S, 900 * S),
    from_ns=st.integers(-90 * S, 60 * S),
)
def test_a_stray_call_of_somebody_elses_does_not_make_one_kind_look_like_another(
    kind: WindowKind, counts_refused: bool, every_ns: int, from_ns: int
) -> None:
    server = Server(kind, EXPECTED, counts_refused)
    due_ns = [T0 + from_ns]

    def meanwhile(_from_ns: int, to_ns: int) -> None:
        while due_ns[0] <= to_ns:
            # A window that such a call begins at a full minute is one that is cut by the clock.
            if 3 * S < due_ns[0] % (60 * S) < 57 * S:
                server.admits(due_ns[0], 0)
            due_ns[0] += every_ns

    seen = drive(course(EXPECTED, Span(0, 0), T0, 2), server, (40 * MS, 60 * MS), meanwhile=meanwhile)
    assert conclude(seen, Span(0, 0)).kind.value in (None, kind)


@pytest.mark.parametrize("kind", [WindowKind.FIXED_ALIGNED, WindowKind.FIXED_FROM_FIRST_HIT])
@pytest.mark.parametrize("counts_refused", [False, True])
def test_the_hour_tells_whether_refused_calls_count(kind: WindowKind, counts_refused: bool) -> None:
    server = Server(kind, 30, counts_refused, hour=400)
    seen = drive(hour_course(420), server, (40 * MS, 60 * MS))
    assert seen[-1].sent_ns - seen[-2].answered_ns == QUIET_NS
    assert refused_in_hour(0, seen, 400).values == (counts_refused,)
    assert refused_in_hour(0, seen[:-1], 400).values == ()


def test_an_hour_that_was_not_used_up_tells_nothing() -> None:
    server = Server(WindowKind.FIXED_ALIGNED, 30, counts_refused=True, hour=400)
    assert refused_in_hour(0, drive(hour_course(100), server), 400).values == ()
    assert refused_in_hour(0, [], 400).values == ()


def test_what_was_broken_off_before_a_refusal_says_how_many_were_let_through() -> None:
    found = probed(Server(WindowKind.SLIDING, EXPECTED), most=7)
    assert (found.limit.values, found.kind.values) == ((7,), ())
    assert conclude([], Span(0, 0)).limit.confidence is Confidence.NOT_MEASURED

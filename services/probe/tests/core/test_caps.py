"""How many streams and sockets, against servers that cap them, or something else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.probe.core.findings import Confidence, Finding
from derivfleet.probe.core.sockets import SocketStep, sockets_course
from derivfleet.probe.core.streams import StreamReply, StreamStep, streams_course

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

MEASURED, CONSISTENT, NOT_MEASURED = Confidence.MEASURED, Confidence.CONSISTENT, Confidence.NOT_MEASURED
S = TypeVar("S")
R = TypeVar("R")


def carried_out(experiment: Generator[S, R, Finding[int]], do: Callable[[S], R]) -> Finding[int]:
    """Do what an experiment wants until it is over."""
    step = next(experiment)
    while True:
        try:
            step = experiment.send(do(step))
        except StopIteration as end:
            found: Finding[int] = end.value
            return found


@dataclass
class Socket:
    """One that holds so many streams, and lets so many calls through in all."""

    streams: int = 10**6
    calls: int = 10**6
    different: int = 10**6
    """How many different streams there are."""
    held: int = 0
    asked: list[StreamStep] = field(default_factory=list[StreamStep])

    def do(self, step: StreamStep) -> StreamReply:
        self.asked.append(step)
        if len(self.asked) > self.calls:
            return StreamReply.REFUSED
        if step is StreamStep.END:
            self.held -= 1
            return StreamReply.DONE
        if self.asked.count(StreamStep.OPEN) > self.different:
            return StreamReply.NONE_LEFT
        if self.held >= self.streams:
            return StreamReply.REFUSED
        self.held += 1
        return StreamReply.DONE


@given(streams=st.integers(0, 130), already=st.integers(0, 3))
def test_a_cap_on_streams_is_found_or_not_met(streams: int, already: int) -> None:
    streams = max(streams, already)
    socket = Socket(streams, held=already)
    found = carried_out(streams_course(already, 105), socket.do)
    if streams >= 105:
        assert (found.confidence, found.values) == (CONSISTENT, (105,))
    else:
        assert (found.confidence, found.values) == (MEASURED, (streams,))
    assert len(socket.asked) <= 105 + 7


@given(calls=st.integers(0, 104), streams=st.integers(105, 200))
def test_a_cap_on_calls_is_not_taken_for_one_on_streams(calls: int, streams: int) -> None:
    found = carried_out(streams_course(0, 105), Socket(streams, calls).do)
    assert found.confidence is NOT_MEASURED


@given(streams=st.integers(1, 100), more=st.integers(0, 4))
def test_a_cap_on_calls_that_is_met_meanwhile_proves_nothing(streams: int, more: int) -> None:
    found = carried_out(streams_course(0, 105), Socket(streams, calls=streams + 1 + more).do)
    assert found.confidence is NOT_MEASURED


def test_with_too_few_different_streams_there_are_at_least_so_many() -> None:
    found = carried_out(streams_course(0, 105), Socket(different=12).do)
    assert (found.confidence, found.values) == (CONSISTENT, (12,))
    assert carried_out(streams_course(0, 105), Socket(different=0).do).values == ()


def test_calls_that_pass_again_later_were_not_streams() -> None:
    replies = iter([StreamReply.DONE] * 5 + [StreamReply.REFUSED] + [StreamReply.DONE] * 3)
    found = carried_out(streams_course(0, 105), lambda _step: next(replies))
    assert found.confidence is NOT_MEASURED
    assert "let through later" in found.because


@dataclass
class House:
    """Lets so many sockets in; one more is refused, or lets the oldest one go."""

    most: int
    evicts: bool = False
    entries: int = 10**6
    held: int = 1

    def do(self, step: SocketStep) -> int:
        if step is SocketStep.CLOSE:
            self.held -= 1
        elif self.entries > 0:
            self.entries -= 1
            if self.held < self.most:
                self.held += 1
        return self.held


@pytest.mark.parametrize("held", [1, 2])
@pytest.mark.parametrize("most", range(2, 9))
def test_a_cap_on_sockets_is_found_or_not_met(held: int, most: int) -> None:
    found = carried_out(sockets_course(held, 6), House(most, held=held).do)
    expected = (CONSISTENT, (6,)) if most >= 6 else (MEASURED, (most,))
    assert (found.confidence, found.values) == expected


@pytest.mark.parametrize("entries", range(3))
def test_entries_that_come_to_an_end_are_no_cap_on_sockets(entries: int) -> None:
    found = carried_out(sockets_course(1, 6), House(100, entries=entries).do)
    assert found.confidence is NOT_MEASURED


@pytest.mark.parametrize("alive", [[2, 1], [2, 2, 2], [2, 2, 1, 2, 3]])
def test_sockets_that_come_and_go_are_no_cap(alive: list[int]) -> None:
    answers = iter(alive)
    assert carried_out(sockets_course(1, 6), lambda _step: next(answers)).confidence is NOT_MEASURED

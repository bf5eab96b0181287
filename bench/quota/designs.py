"""What a design must offer to be measured: the calls that the gateway itself makes of its quota."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from derivfleet.deriv.vocabulary import Call
    from derivfleet.gateway.core.quota import PermitDenied, Rank

__all__ = ["AnyPermit", "Design", "Stopwatch"]


class AnyPermit(Protocol):
    """What the day reads of a permit."""

    @property
    def bot(self) -> str: ...
    @property
    def rank(self) -> Rank: ...
    @property
    def asked_ns(self) -> int: ...


P = TypeVar("P", bound=AnyPermit)


class Design(Protocol[P]):
    """Decides which bot calls next. Times are the client's, in nanoseconds."""

    def ask(
        self, bot: str, call: Call, now_ns: int, deadline_ns: int | None = None, rank: Rank | None = None
    ) -> P | PermitDenied:
        """Join the queue, or be refused at once because it is full."""
        ...

    def dispatch(self, now_ns: int) -> list[P]:
        """The calls that are sent now, in order."""
        ...

    def wake_ns(self, now_ns: int) -> int | None:
        """When ``dispatch`` has to be called again if nothing else happens."""
        ...

    def landed(self, permit: P, now_ns: int) -> None:
        """The answer to a call has come, whatever it says."""
        ...

    def refused_by_deriv(self, call: Call, now_ns: int) -> None:
        """And it says that the call was one too many."""
        ...


def _look_ns() -> int:
    """What a stopwatch shows that is stopped at once."""
    looks = [time.perf_counter_ns() for _ in range(2000)]
    return sorted(later - earlier for earlier, later in itertools.pairwise(looks))[len(looks) // 2]


class Stopwatch(Generic[P]):
    """A design whose decisions are timed in processor time.

    The processor's own clock can only be asked of the kernel, and what comes after that is slow for a while: fourteen
    such looks a decision would measure themselves. So decisions are timed by the clock on the wall, and that is taken
    for the part in which this thread ran: other processes on the machine count little.
    """

    def __init__(self, design: Design[P]) -> None:
        self._design = design
        self._look_ns = _look_ns()
        self._spent_ns = 0
        self._looks = 0
        self._begun_ns = time.perf_counter_ns()
        self._ran_ns = time.thread_time_ns()
        self.granted = 0

    @property
    def spent_ns(self) -> float:
        """Time in the design, without that of looking at the clock."""
        ran_part = (time.thread_time_ns() - self._ran_ns) / (time.perf_counter_ns() - self._begun_ns)
        return (self._spent_ns - self._looks * self._look_ns) * min(1.0, ran_part)

    def ask(
        self, bot: str, call: Call, now_ns: int, deadline_ns: int | None = None, rank: Rank | None = None
    ) -> P | PermitDenied:
        start = time.perf_counter_ns()
        answer = self._design.ask(bot, call, now_ns, deadline_ns, rank)
        self._spent_ns += time.perf_counter_ns() - start
        self._looks += 1
        return answer

    def dispatch(self, now_ns: int) -> list[P]:
        start = time.perf_counter_ns()
        granted = self._design.dispatch(now_ns)
        self._spent_ns += time.perf_counter_ns() - start
        self._looks += 1
        self.granted += len(granted)
        return granted

    def wake_ns(self, now_ns: int) -> int | None:
        start = time.perf_counter_ns()
        wake = self._design.wake_ns(now_ns)
        self._spent_ns += time.perf_counter_ns() - start
        self._looks += 1
        return wake

    def landed(self, permit: P, now_ns: int) -> None:
        start = time.perf_counter_ns()
        self._design.landed(permit, now_ns)
        self._spent_ns += time.perf_counter_ns() - start
        self._looks += 1

    def refused_by_deriv(self, call: Call, now_ns: int) -> None:
        self._design.refused_by_deriv(call, now_ns)

"""How well one socket serves: how long its answers take, and how long it has been silent.

A slow peer is told from one that is gone without a word (the TCP connection stands, nothing comes) by silence: no frame
at all while something is outstanding. Silence raises suspicion, suspicion a ping, and if that brings no frame either
the socket is dead. How long each step may take grows with what answers usually take.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from statistics import median

__all__ = ["Action", "Health", "Timeouts", "Verdict"]

NS_PER_S = 1_000_000_000

SAMPLES = 5
"""The latest calls whose median is the usual time of an answer: two of them may be anything."""
LEAST_SAMPLES = 3
"""Fewer calls do not make a socket slow."""
MEMORY_NS = 60 * NS_PER_S
"""Older answers say nothing about now."""
PROPORTION = 4
"""So many usual answer times may pass in silence before it means something, if that is longer than the least."""


class Verdict(IntEnum):
    """What a socket is good for; the lower the better."""

    READY = 0
    SLOW = 1
    SUSPECT = 2
    DEAD = 3


class Action(Enum):
    """What to do with a socket now."""

    NOTHING = auto()
    PING = auto()
    ABANDON = auto()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long is long, in ns."""

    suspicion_ns: int = 3 * NS_PER_S
    """Silence, with something outstanding, until a socket is suspect."""
    death_ns: int = 3 * NS_PER_S
    """Further silence after the ping that asks it, until it is dead."""
    most_ns: int = 15 * NS_PER_S
    """Neither of the two grows beyond this; a call is not waited for any longer either."""
    slow_ns: int = NS_PER_S
    """Answers usually take a tenth of a second; from this on the other socket is better."""
    ping_every_ns: int = 10 * NS_PER_S
    """Deriv's own site pings every 12 s; its server drops a socket without traffic after 120 s, and counts 10 pings a
    second and connection."""
    probe_every_ns: int = 2 * NS_PER_S
    """The same for a socket that is not ready, so that it is soon known to be well again."""
    step_ns: int = NS_PER_S // 2
    """How often :meth:`Health.check` is called."""


class Health:
    """One socket. It hears of every frame; ``verdict`` and ``problem`` are those of the last check."""

    def __init__(self, timeouts: Timeouts, now_ns: int) -> None:
        self.verdict = Verdict.READY
        self.problem = ""
        """Why the verdict is not READY; empty if it is."""
        self._timeouts = timeouts
        self._checked_ns = now_ns
        self._stalled_ns = 0
        self._heard_ns = now_ns
        self._pinged_ns: int | None = None
        self._probed_ns: int | None = None
        self._open: dict[int, tuple[int, bool]] = {}
        self._answers: deque[tuple[int, int]] = deque(maxlen=SAMPLES)
        """(when sent, time it took), in the order of answering."""

    def sent(self, req_id: int, now_ns: int, *, timed: bool = True) -> None:
        """A call has left. ``timed`` False: its answer is so large that the time it takes says nothing."""
        self._open[req_id] = (self._awake(now_ns), timed)

    def heard(self, now_ns: int) -> None:
        """A frame has come that can be read, whatever it is."""
        self._heard_ns = self._awake(now_ns)

    def answered(self, req_id: int, now_ns: int) -> None:
        """The first frame that answers a call has come; it was heard already."""
        self._end(req_id, now_ns, 0)

    def given_up(self, req_id: int, now_ns: int) -> None:
        """A call is not waited for any longer; if that was late, it counts as answered now."""
        self._end(req_id, now_ns, self._timeouts.slow_ns)

    def check(self, now_ns: int) -> Action:
        """Judge the socket anew and say what to do. To be called every ``step_ns``."""
        self._notice_stall(now_ns)
        awake_ns, timeouts = self._awake(now_ns), self._timeouts
        silent_ns = self._silent_ns(awake_ns)
        limit_ns = self._proportionate(timeouts.suspicion_ns, awake_ns)
        if silent_ns < limit_ns:
            self._probed_ns = None
            self._judge_pace(awake_ns)
            every_ns = timeouts.ping_every_ns if self.verdict is Verdict.READY else timeouts.probe_every_ns
            is_due = self._pinged_ns is None or awake_ns - self._pinged_ns >= every_ns
            return self._ping(awake_ns) if is_due else Action.NOTHING
        self.problem = f"silent for {silent_ns / NS_PER_S:.1f} s with {len(self._open)} calls open"
        if self._probed_ns is None:
            self.verdict, self._probed_ns = Verdict.SUSPECT, awake_ns
            return self._ping(awake_ns)
        if awake_ns - self._probed_ns < self._proportionate(timeouts.death_ns, awake_ns):
            return Action.NOTHING
        self.verdict = Verdict.DEAD
        return Action.ABANDON

    def _awake(self, now_ns: int) -> int:
        """Time without that in which this process did not run: what the peer sent then has not been read yet."""
        return now_ns - self._stalled_ns

    def _notice_stall(self, now_ns: int) -> None:
        step_ns = now_ns - self._checked_ns
        if step_ns > 2 * self._timeouts.step_ns:
            self._stalled_ns += step_ns - self._timeouts.step_ns
        self._checked_ns = now_ns

    def _silent_ns(self, awake_ns: int) -> int:
        if not self._open:
            return 0
        oldest_ns, _ = next(iter(self._open.values()))
        return awake_ns - max(self._heard_ns, oldest_ns)

    def _proportionate(self, least_ns: int, awake_ns: int) -> int:
        """The least, or so many usual answer times; what is still open must not lengthen its own term."""
        took = [took_ns for sent_ns, took_ns in self._answers if awake_ns - sent_ns - took_ns <= MEMORY_NS]
        usual_ns = round(median(took)) if took else 0
        return max(least_ns, min(PROPORTION * usual_ns, self._timeouts.most_ns))

    def _judge_pace(self, awake_ns: int) -> None:
        slow_ns = self._timeouts.slow_ns
        done = [(sent_ns, took_ns) for sent_ns, took_ns in self._answers if awake_ns - sent_ns - took_ns <= MEMORY_NS]
        # A call that is still open counts from when it is late on; before, nobody knows what it will be.
        late = [(sent_ns, awake_ns - sent_ns) for sent_ns, timed in self._open.values() if timed]
        late = [(sent_ns, took_ns) for sent_ns, took_ns in late if took_ns >= slow_ns]
        latest = [took_ns for _, took_ns in sorted(done + late)[-SAMPLES:]]
        usual_ns = median(latest) if len(latest) >= LEAST_SAMPLES else 0
        # To be ready again takes twice as good, so that a socket on the border does not go to and fro.
        is_slow = usual_ns >= (slow_ns if self.verdict is Verdict.READY else slow_ns / 2)
        self.verdict = Verdict.SLOW if is_slow else Verdict.READY
        self.problem = f"answers take {usual_ns / NS_PER_S:.1f} s" if is_slow else ""

    def _ping(self, awake_ns: int) -> Action:
        self._pinged_ns = awake_ns
        return Action.PING

    def _end(self, req_id: int, now_ns: int, least_ns: int) -> None:
        sent_ns, timed = self._open.pop(req_id, (0, False))
        took_ns = self._awake(now_ns) - sent_ns
        if timed and took_ns >= least_ns:
            self._answers.append((sent_ns, took_ns))

"""One virtual day: bots ask, the design decides, frames travel, the counters count, answers come back."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Generic, TypeVar

from bench.quota.demand import BURST_EVERY_S, EXIT_BURST, EXIT_BURST_EVERY_S, EXIT_PART, LITTLE_PART, WAITING, calls_of
from bench.quota.designs import AnyPermit, Stopwatch
from bench.quota.world import NS_PER_S, START_NS, Clocks, Counters, delays_ns
from derivfleet.gateway.core.quota import PermitDenied, Rank

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.quota.demand import Demand
    from bench.quota.designs import Design
    from derivfleet.deriv.limits import Bucket
    from derivfleet.deriv.vocabulary import Dialect
    from derivfleet.simulator.core.windows import WindowKind

__all__ = ["Day", "StuckError", "Tally"]

P = TypeVar("P", bound=AnyPermit)

NEVER_NS = 1 << 63
MINUTE_NS = 60 * NS_PER_S


class StuckError(Exception):
    """The design wants to be woken at a time at which it has just been asked and had nothing to send."""


@dataclass(slots=True)
class Tally:
    """What a day came to. A call belongs to the day if it reached the server in it."""

    served: Counter[str] = field(default_factory=Counter[str])
    """bot → its accepted calls that are not exits"""
    exits: Counter[str] = field(default_factory=Counter[str])
    """bot → its accepted exits"""
    asked: Counter[str] = field(default_factory=Counter[str])
    """bot → calls that it asked for in bursts"""
    refused: int = 0
    """By the server."""
    turned_away: int = 0
    """By the design, at once; they ask again when it says so."""
    burst_minutes: list[int] = field(default_factory=list[int])
    """Accepted calls of each full minute that began with a burst's first call at the server."""
    exit_waits_ns: array[int] = field(default_factory=lambda: array("q"))
    """From asking to being sent; exits that come in bursts are not among them."""
    modest_waits_ns: array[int] = field(default_factory=lambda: array("q"))
    exit_bursts_ns: list[int] = field(default_factory=list[int])
    """From each burst of exits until the last of it was sent."""

    @property
    def accepted(self) -> int:
        return self.served.total() + self.exits.total()


class Day(Generic[P]):
    """A design, a demand and a world, and where they have come to."""

    def __init__(
        self,
        design: Design[P],
        demand: Demand,
        name: Dialect,
        bucket: Bucket,
        kinds: Sequence[WindowKind],
        seed: str,
    ) -> None:
        """Whatever happens by chance follows from ``seed``: the same exits and little wants whatever the design."""
        self.tally = Tally()
        self.clocks = Clocks(Random(f"clock {seed}"))  # noqa: S311 - a benchmark's chance
        self._design = design
        self.demand = demand
        self._call, self._exit = calls_of(bucket)
        self._counters = Counters(name, self._call, kinds)
        self._delays = delays_ns(Random(f"network {seed}"))  # noqa: S311
        self._sent = 0
        self._arrivals: list[tuple[int, int, P]] = []
        self._answers: list[tuple[int, int, P, bool]] = []
        self._timers: list[tuple[int, int, Callable[[int], None]]] = []
        self._number = 0
        self._wake_ns = NEVER_NS
        self._first_asked_ns: dict[int, int] = {}
        # ^ of calls that are asked for again, by id
        self._chance = Random(f"demand {seed}")  # noqa: S311
        self._exit_chance = Random(f"exits {seed}")  # noqa: S311
        self._bots = list(demand.weights)
        self._hungry = frozenset(demand.hungry)
        self._steps = list(accumulate(demand.weights.values()))
        self._minute_limit = min(bucket.windows.items())[1]
        per_ns = min(limit / (window_s * NS_PER_S) for window_s, limit in bucket.windows.items())
        self._exits_per_ns, self._little_per_ns = EXIT_PART * per_ns, LITTLE_PART * per_ns
        self._burst_from = 0
        self._burst_waits = False  # its first call has not reached the server yet
        self._burst_ends_ns = 0
        self._exits_burst_ns, self._exits_out = 0, 0
        self._begin()

    def _begin(self) -> None:
        self._at(START_NS, self._fill)
        self._at(self._next_exit_ns(START_NS), self._ask_exit)
        if self.demand.modest:
            self._at(self._next_little_ns(START_NS), self._ask_little)
        if self.demand.bursts:
            self._at(START_NS + BURST_EVERY_S * NS_PER_S, self._ask_burst)
        if self.demand.exit_bursts:
            self._at(START_NS + EXIT_BURST_EVERY_S * NS_PER_S // 2, self._ask_exit_burst)

    def _at(self, at_ns: int, do: Callable[[int], None]) -> None:
        self._number += 1
        heappush(self._timers, (at_ns, self._number, do))

    # What bots want.

    def _fill(self, now_ns: int) -> None:
        for bot in self.demand.hungry:
            for _ in range(WAITING):
                self._ask(bot, Rank.BUY, now_ns, now_ns)

    def _ask_little(self, now_ns: int) -> None:
        self._ask(self._chance.choice(self.demand.modest), Rank.BUY, now_ns, now_ns)
        self._at(self._next_little_ns(now_ns), self._ask_little)

    def _ask_exit(self, now_ns: int) -> None:
        self._ask(self._exiting_bot(), Rank.EXIT, now_ns, now_ns)
        self._at(self._next_exit_ns(now_ns), self._ask_exit)

    def _ask_exit_burst(self, now_ns: int) -> None:
        self._exits_burst_ns, self._exits_out = now_ns, 0
        for _ in range(EXIT_BURST):
            self._ask(self._exiting_bot(), Rank.EXIT, now_ns, now_ns)
        self._at(now_ns + EXIT_BURST_EVERY_S * NS_PER_S, self._ask_exit_burst)

    def _ask_burst(self, now_ns: int) -> None:
        """All ask for equal parts, bot by bot. If there are more bots than calls, they take turns between bursts."""
        bots, limit = self._bots, self._minute_limit
        if len(bots) > limit:
            asking = [bots[(self._burst_from + number) % len(bots)] for number in range(limit)]
            self._burst_from += limit
        else:
            asking = [bots[number * len(bots) // limit] for number in range(limit)]
        for bot in asking:
            self.tally.asked[bot] += 1
            self._ask(bot, Rank.BUY, now_ns, now_ns)
        self._burst_waits = True
        self._at(now_ns + BURST_EVERY_S * NS_PER_S, self._ask_burst)

    def _exiting_bot(self) -> str:
        """Who trades more, by weight, gets out more often."""
        return self._exit_chance.choices(self._bots, cum_weights=self._steps)[0]

    def _next_exit_ns(self, now_ns: int) -> int:
        return now_ns + round(self._exit_chance.expovariate(self._exits_per_ns))

    def _next_little_ns(self, now_ns: int) -> int:
        return now_ns + round(self._chance.expovariate(self._little_per_ns))

    def _ask(self, bot: str, rank: Rank, now_ns: int, first_ns: int) -> None:
        answer = self._design.ask(bot, self._exit if rank is Rank.EXIT else self._call, now_ns, None, rank)
        if isinstance(answer, PermitDenied):
            self.tally.turned_away += 1
            self._at(now_ns + max(1, answer.wait_ns), lambda at_ns: self._ask(bot, rank, at_ns, first_ns))
        elif first_ns != now_ns:
            self._first_asked_ns[id(answer)] = first_ns

    # What happens.

    def run(self, until_ns: int, watch: Stopwatch[P] | None = None, stop_if_refused: bool = False) -> bool:
        """Play until an instant of the client's clock, timing the decisions with ``watch`` if it is given.

        False if it stopped early because a call was refused.
        """
        own = self._design
        if watch is not None:
            self._design = watch
        while True:
            arrival_ns = self._arrivals[0][0] if self._arrivals else NEVER_NS
            answer_ns = self._answers[0][0] if self._answers else NEVER_NS
            timer_ns = self._timers[0][0]
            now_ns = min(arrival_ns, answer_ns, timer_ns, self._wake_ns)
            if now_ns >= until_ns:
                break
            if now_ns == arrival_ns:
                self._arrive()
                if stop_if_refused and self.tally.refused:
                    return False
                continue  # the client learns nothing of it yet
            if now_ns == answer_ns:
                self._land()
            elif now_ns == timer_ns:
                heappop(self._timers)[2](now_ns)
            while self._send(now_ns):
                pass
            wake_ns = self._design.wake_ns(now_ns)
            if wake_ns is not None and wake_ns <= now_ns:
                raise StuckError(
                    f"woken at {now_ns - START_NS} ns of the day for {wake_ns - START_NS}, with nothing to send"
                )
            self._wake_ns = NEVER_NS if wake_ns is None else wake_ns
        self._design = own
        return True

    def _send(self, now_ns: int) -> bool:
        """Send what the design grants. True if that made bots ask for more."""
        asked = False
        for permit in self._design.dispatch(now_ns):
            bot, rank = permit.bot, permit.rank
            self._number += 1
            heappush(self._arrivals, (now_ns + self._delay_ns(), self._number, permit))
            first_ns = self._first_asked_ns.get(id(permit), permit.asked_ns)
            if rank is Rank.EXIT:
                self._exit_sent(now_ns, first_ns)
            elif bot in self._hungry:
                self._ask(bot, rank, now_ns, now_ns)
                asked = True
            elif self.demand.modest:
                self.tally.modest_waits_ns.append(now_ns - first_ns)
        return asked

    def _exit_sent(self, now_ns: int, first_ns: int) -> None:
        if first_ns != self._exits_burst_ns:
            self.tally.exit_waits_ns.append(now_ns - first_ns)
            return
        self._exits_out += 1
        if self._exits_out == EXIT_BURST:
            self.tally.exit_bursts_ns.append(now_ns - first_ns)

    def _arrive(self) -> None:
        now_ns, number, permit = heappop(self._arrivals)
        server_ns = self.clocks.server_ns(now_ns)
        admitted = self._counters.admit(server_ns)
        heappush(self._answers, (now_ns + self._delay_ns(), number, permit, admitted))
        tally = self.tally
        if not admitted:
            tally.refused += 1
            return
        (tally.exits if permit.rank is Rank.EXIT else tally.served)[permit.bot] += 1
        if self._burst_waits and permit.rank is not Rank.EXIT:
            self._burst_waits = False
            self._burst_ends_ns = server_ns + MINUTE_NS
            tally.burst_minutes.append(0)
        if server_ns < self._burst_ends_ns:
            tally.burst_minutes[-1] += 1

    def _land(self) -> None:
        now_ns, _, permit, admitted = heappop(self._answers)
        self._design.landed(permit, now_ns)
        first_ns = self._first_asked_ns.pop(id(permit), permit.asked_ns)
        if admitted:
            return
        self._design.refused_by_deriv(self._call, now_ns)
        if permit.rank is Rank.EXIT or permit.bot not in self._hungry:
            self._ask(permit.bot, permit.rank, now_ns, first_ns)

    def _delay_ns(self) -> int:
        self._sent += 1
        return self._delays[self._sent % len(self._delays)]

# pyright: reportPrivateUsage=false
"""What must hold whatever happens: a quota among delays, losses and restarts, and a Deriv that counts.

The oracle shares nothing with the quota: it knows when frames reach Deriv, on Deriv's own clock, and recounts them
by brute force in each kind of window.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.deriv.limits import Bucket, LimitsTable, StreamCaps
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.quota.call_log import DRIFT
from derivfleet.gateway.core.quota.quota import GATEWAY, Permit, PermitDenied, PermitState, Quota, Rank

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from derivfleet.gateway.core.quota.write_ahead import Block

S = 10**9
MS = 10**6
START_NS = 1_795_161_600 * S
STRAY_NS = 5 * S
MOST_IN_FLIGHT_NS = 20 * S
"""No answer is waited for as long as this."""


def table(windows: Mapping[int, int], others: Mapping[int, int] | None = None) -> LimitsTable:
    buckets = {"trade": Bucket("trade", frozenset({Call.BUY, Call.SELL, Call.PROPOSAL}), windows)}
    buckets["other"] = Bucket("other", frozenset(), others or windows)
    return LimitsTable(buckets, "other", frozenset({Call.PING}), StreamCaps())


class Deriv:
    """Counts what arrives, on a clock that runs at its own rate."""

    def __init__(self, skew_ppm: int, phase_ns: int) -> None:
        self._rate = 1_000_000 + skew_ppm
        self._phase_ns = phase_ns
        self.arrivals: dict[tuple[str, ...], list[int]] = defaultdict(list)

    def arrive(self, at_ns: int, *keys: tuple[str, ...]) -> None:
        for key in keys:
            self.arrivals[key].append((at_ns - START_NS) * self._rate // 1_000_000 + self._phase_ns)

    def most(self, key: tuple[str, ...], window_s: int) -> int:
        """The most calls that a window of any kind has ever held."""
        times, span_ns = sorted(self.arrivals[key]), window_s * S
        sliding = max((sum(1 for other in times if begin <= other < begin + span_ns) for begin in times), default=0)
        aligned = max(Counter(time // span_ns for time in times).values(), default=0)
        first_hit, held, begin = 0, 0, -span_ns
        for time in times:
            if time >= begin + span_ns:
                begin, held = time, 0
            held += 1
            first_hit = max(first_hit, held)
        return max(sliding, aligned, first_hit)


class Fate(NamedTuple):
    """What becomes of a granted call. ``lost``: the answer is given up after ``back_ms``, the frame comes yet."""

    kind: str
    out_ms: int
    back_ms: int


class Ask(NamedTuple):
    pause_ms: int
    bot: str
    call: Call
    rank: Rank | None
    calls: int
    patience_ms: int | None
    cancels: bool


@dataclass
class World:
    """Plays a script of asks; each granted call meets the next of the fates."""

    quota: Quota
    deriv: Deriv
    fates: Sequence[Fate]
    now_ns: int = START_NS
    waiting: list[Permit] = field(default_factory=list[Permit])
    outstanding: int = 0
    denials: list[tuple[PermitDenied, int]] = field(default_factory=list[tuple[PermitDenied, int]])
    started: list[Permit] = field(default_factory=list[Permit])
    """Calls that were granted, without those that were not sent."""
    journal: list[Block] = field(default_factory=list["Block"])
    in_order: bool = True
    """Whether ranks decide alone, that is without caps."""
    _events: list[tuple[int, int, Callable[[], None]]] = field(
        default_factory=list[tuple[int, int, "Callable[[], None]"]]
    )
    _fate: int = 0
    _ordinal: int = 0
    _idle_wakes: int = 0
    _generation: int = 0
    _crashed_ns: int = -STRAY_NS

    def at(self, time_ns: int, event: Callable[[], None]) -> None:
        self._ordinal += 1
        heapq.heappush(self._events, (time_ns, self._ordinal, event))

    def ask(
        self, bot: str, call: Call, rank: Rank | None = None, deadline_ns: int | None = None
    ) -> Permit | PermitDenied:
        permit = self.quota.ask(bot, call, self.now_ns, deadline_ns, rank)
        if isinstance(permit, PermitDenied):
            self.denials.append((permit, 0 if deadline_ns is None else deadline_ns - self.now_ns))
        elif permit.state is PermitState.WAITING:
            self.waiting.append(permit)
        else:
            self._assert_next(permit)
        return permit

    def look(self) -> bool:
        """Dispatch, and send what is granted; whether anything happened."""
        ready = self.quota.dispatch(self.now_ns)
        self.journal += self.quota.take_blocks()
        for permit in ready:
            if permit.state is PermitState.EXPIRED:
                assert permit.deadline_ns is not None
                assert permit.deadline_ns < self.now_ns
                self.waiting.remove(permit)
        for permit in ready:
            if permit.state is PermitState.GRANTED:
                self._granted(permit)
        return bool(ready)

    def run(self, until_ns: int) -> None:
        """Let time pass, waking the quota when it wants to be and not otherwise."""
        while True:
            wake_ns = self.quota.wake_ns(self.now_ns)
            if self.waiting:
                assert wake_ns is not None or self.outstanding, "a permit waits for nothing"
            next_ns = min(
                self._events[0][0] if self._events else until_ns, until_ns if wake_ns is None else wake_ns, until_ns
            )
            if next_ns > self.now_ns:
                self._idle_wakes = 0
            if next_ns >= until_ns:
                self.now_ns = until_ns
                return
            self.now_ns = next_ns
            while self._events and self._events[0][0] <= self.now_ns:
                heapq.heappop(self._events)[2]()
            if self.look():
                self._idle_wakes = 0
            self._idle_wakes += 1
            assert self._idle_wakes < 10, "woken over and over, and nothing happens"

    def play(self, script: Sequence[Ask]) -> None:
        for ask in script:
            self.run(self.now_ns + ask.pause_ms * MS)
            deadline_ns = None if ask.patience_ms is None else self.now_ns + ask.patience_ms * MS
            for _ in range(ask.calls):
                permit = self.ask(ask.bot, ask.call, ask.rank, deadline_ns)
                if ask.cancels and isinstance(permit, Permit) and permit.state is PermitState.WAITING:
                    self.at(
                        self.now_ns + ask.pause_ms * MS,
                        lambda permit=permit, plan=self.quota: self._cancel(permit, plan),
                    )
            self.look()

    def restart(self, sent_of_the_last: int, down_ms: int) -> None:
        """Crash between the writing of blocks and the sending: of what was just granted only so many have gone out."""
        ready = self.quota.dispatch(self.now_ns)
        self.journal += self.quota.take_blocks()
        for permit in [permit for permit in ready if permit.state is PermitState.GRANTED][:sent_of_the_last]:
            self._granted(permit)
        self._generation += 1
        self._crashed_ns = self.now_ns
        self.waiting.clear()
        self.outstanding = 0
        down_until_ns = self.now_ns + down_ms * MS
        while self._events and self._events[0][0] <= down_until_ns:
            self.now_ns = max(self.now_ns, self._events[0][0])
            heapq.heappop(self._events)[2]()
        self.now_ns = down_until_ns

    def _assert_next(self, permit: Permit) -> None:
        """Nobody more urgent waits, and none of the bot's own calls of a lower rank or of the same and older."""
        for other in self.waiting if self.in_order and permit.bucket else ():
            if other is not permit and other.bucket == permit.bucket:
                assert min(other.rank, Rank.BUY) >= min(permit.rank, Rank.BUY)
                if other.bot == permit.bot:
                    assert (other.rank, other.asked_ns) >= (permit.rank, permit.asked_ns)

    def _cancel(self, permit: Permit, plan: Quota) -> None:
        if permit in self.waiting:
            self.waiting.remove(permit)
        plan.cancel(permit)

    def _granted(self, permit: Permit) -> None:
        assert permit.deadline_ns is None or permit.granted_ns <= permit.deadline_ns
        if permit in self.waiting:
            self._assert_next(permit)
            self.waiting.remove(permit)
        if not permit.bucket:
            return
        fate = self.fates[self._fate % len(self.fates)]
        self._fate += 1
        self.outstanding += 1
        self.started.append(permit)
        out_ns, back_ns = self.now_ns + fate.out_ms * MS, self.now_ns + (fate.out_ms + fate.back_ms) * MS
        quota, generation = self.quota, self._generation
        keys = (("bucket", permit.bucket), ("bot", permit.bot, permit.call))

        def end(settle: Callable[[Permit, int], None]) -> None:
            if self._generation == generation:
                self.outstanding -= 1
                settle(permit, self.now_ns)
                quota.landed(permit, self.now_ns)  # a second time, which must not matter

        match fate.kind:
            case "unsent":
                self.at(out_ns, lambda: end(quota.unsent))
                self.at(out_ns, lambda: self.started.remove(permit))
            case "lost":
                # Given up after back_ms; the frame arrives as late as it may.
                self.at(self.now_ns + fate.back_ms * MS, lambda: end(quota.lost))
                late_ns = self.now_ns + fate.back_ms * MS + min(fate.out_ms * MS, STRAY_NS)
                self.at(late_ns, lambda: self._arrive(late_ns, generation, keys))
            case _:
                self.at(out_ns, lambda: self._arrive(out_ns, generation, keys))
                self.at(back_ns, lambda: end(quota.landed))

    def _arrive(self, at_ns: int, generation: int, keys: tuple[tuple[str, ...], ...]) -> None:
        # After a crash what was on its way is on its way for a while yet; the rest died with the socket.
        if generation == self._generation or at_ns <= self._crashed_ns + STRAY_NS:
            self.deriv.arrive(at_ns, *keys)


SPANS_S = st.sampled_from([(5, 20), (60, 600), (60, 3600)])


@st.composite
def tables(draw: st.DrawFn) -> LimitsTable:
    short_s, long_s = draw(SPANS_S)
    short = draw(st.integers(1, 30))
    return table({short_s: short, long_s: draw(st.integers(short, 3 * short))})


PAUSES_MS = st.one_of(
    st.sampled_from([0, 0, 1, 100, 4_990, 5_000, 5_010, 60_000, 60_013, 600_000]), st.integers(0, 90_000)
)
ASKS = st.builds(
    Ask,
    pause_ms=PAUSES_MS,
    bot=st.sampled_from(["a", "b", "c", GATEWAY]),
    call=st.sampled_from([Call.BUY, Call.SELL, Call.PROPOSAL, Call.PROPOSAL, Call.TIME]),
    rank=st.sampled_from([None, None, *Rank]),
    calls=st.sampled_from([1, 2, 5, 40]),
    patience_ms=st.one_of(st.none(), st.integers(0, 100_000)),
    cancels=st.booleans(),
)
FATES = st.builds(
    Fate,
    kind=st.sampled_from(["landed", "landed", "landed", "lost", "unsent"]),
    out_ms=st.one_of(st.sampled_from([0, 5_000]), st.integers(0, 5_000)),
    back_ms=st.one_of(st.just(0), st.integers(0, 15_000)),
)
SCRIPTS = st.lists(ASKS, min_size=1, max_size=30)
SKEWS = st.one_of(st.sampled_from([-200, 200]), st.integers(-200, 200))
CAPS = st.dictionaries(st.sampled_from([Call.BUY, Call.PROPOSAL, Call.TIME]), st.integers(1, 3))
WEIGHTS = {"a": 1.0, "b": 2.0, "c": 0.5}


def assert_never_over(deriv: Deriv, limits: LimitsTable) -> None:
    for bucket in limits.buckets.values():
        for window_s, limit in bucket.windows.items():
            assert deriv.most(("bucket", bucket.name), window_s) <= limit


def drain(world: World, limits: LimitsTable) -> None:
    """With no new demand everybody who has not given up is served before long."""
    slowest_ns = max(
        (len(world.waiting) // limit + 3) * (window_s * S + 2 * MOST_IN_FLIGHT_NS)
        for bucket in limits.buckets.values()
        for window_s, limit in [*bucket.windows.items(), *([] if world.in_order else [(60, 1)])]  # the lowest cap
    )
    world.run(world.now_ns + slowest_ns)
    assert world.waiting == []


@settings(deadline=None)
@given(tables(), SCRIPTS, st.lists(FATES, min_size=1, max_size=20), SKEWS, st.integers(0, 3600 * S))
def test_no_window_of_any_kind_ever_holds_more_than_its_limit_and_nobody_waits_for_ever(
    limits: LimitsTable, script: list[Ask], fates: list[Fate], skew_ppm: int, phase_ns: int
) -> None:
    world = World(Quota(limits, 1.0, WEIGHTS, stray_ns=STRAY_NS), Deriv(skew_ppm, phase_ns), fates)
    world.play(script)
    drain(world, limits)
    assert_never_over(world.deriv, limits)
    for denied, patience_ns in world.denials:
        assert denied.binding == "queue" or denied.wait_ns > patience_ns


@settings(deadline=None)
@given(tables(), SCRIPTS, st.lists(FATES, min_size=1, max_size=20), SKEWS, st.integers(0, 800))
def test_no_window_ever_holds_more_if_the_line_is_told_to_be_as_slow_as_it_is(
    limits: LimitsTable, script: list[Ask], fates: list[Fate], skew_ppm: int, way_ms: int
) -> None:
    slower = [fate._replace(out_ms=fate.out_ms + way_ms, back_ms=fate.back_ms + way_ms) for fate in fates]
    plan = Quota(limits, 1.0, WEIGHTS, stray_ns=2 * STRAY_NS, fastest_ns=2 * way_ms * MS)
    world = World(plan, Deriv(skew_ppm, 0), slower)
    world.play(script)
    drain(world, limits)
    assert_never_over(world.deriv, limits)


@settings(deadline=None)
@given(
    tables(),
    SCRIPTS,
    st.lists(FATES, min_size=1, max_size=20),
    st.fixed_dictionaries({"a": CAPS, "b": CAPS}),
    SKEWS,
)
def test_no_minute_ever_holds_more_of_a_bots_calls_than_its_cap(
    limits: LimitsTable, script: list[Ask], fates: list[Fate], caps: dict[str, dict[Call, int]], skew_ppm: int
) -> None:
    plan = Quota(limits, 1.0, WEIGHTS, caps, stray_ns=STRAY_NS)
    world = World(plan, Deriv(skew_ppm, 0), fates, in_order=False)
    world.play(script)
    drain(world, limits)
    assert_never_over(world.deriv, limits)
    for bot, kinds in caps.items():
        for call, most in kinds.items():
            assert world.deriv.most(("bot", bot, call), 60) <= most


@settings(deadline=None)
@given(
    st.builds(table, SPANS_S.flatmap(lambda spans: st.fixed_dictionaries({spans[0]: st.integers(1, 90)}))),
    st.one_of(st.just([]), SCRIPTS),
    st.lists(FATES, min_size=1, max_size=20),
    SKEWS,
    st.lists(st.tuples(st.integers(0, 100), st.one_of(st.just(0), st.integers(0, 90_000))), min_size=1, max_size=3),
)
def test_a_restart_at_any_moment_forgets_no_call_that_deriv_may_count(
    limits: LimitsTable, script: list[Ask], fates: list[Fate], skew_ppm: int, restarts: list[tuple[int, int]]
) -> None:
    world = World(Quota(limits, 1.0, WEIGHTS, stray_ns=STRAY_NS), Deriv(skew_ppm, 0), fates)
    world.play(script)
    for sent, down_ms in restarts:
        for _ in range(100):  # all that may go
            world.ask("a", Call.BUY, Rank.EXIT)
        world.restart(sent, down_ms)
        world.quota = Quota(limits, 1.0, WEIGHTS, stray_ns=STRAY_NS)
        world.quota.restore(world.journal, world.now_ns)
    world.play([Ask(0, bot, Call.BUY, Rank.EXIT, 100, None, cancels=False) for bot in "abc"])
    world.run(world.now_ns + 130 * S)
    assert_never_over(world.deriv, limits)


@settings(deadline=None)
@given(tables(), SCRIPTS, st.lists(FATES, min_size=1, max_size=20))
def test_what_is_lent_is_what_is_borrowed_and_bots_have_used_what_they_started(
    limits: LimitsTable, script: list[Ask], fates: list[Fate]
) -> None:
    world = World(Quota(limits, 1.0, WEIGHTS, stray_ns=STRAY_NS), Deriv(0, 0), fates)
    for ask in script:
        world.play([ask._replace(bot="a" if ask.bot == GATEWAY else ask.bot)])
        uses, shares = world.quota.use(world.now_ns), world.quota.share_use(world.now_ns)
        for use in uses:
            mine = [one for one in shares if (one.bucket, one.window_s) == (use.bucket, use.window_s)]
            length_ns = use.window_s * S / (1 - DRIFT)
            for one in mine:
                assert one.used == sum(
                    (permit.bot, permit.bucket) == (one.bot, one.bucket)
                    and permit.granted_ns > world.now_ns - length_ns
                    for permit in world.started
                )
            assert sum(one.used for one in mine) <= use.used
            assert 0 <= use.reserved <= max(0, use.limit - use.used)
            if use.window_s == min(limits.buckets[use.bucket].windows):
                idle = sum(max(0, one.share - one.used) for one in mine)
                assert sum(one.lent for one in mine) == min(idle, sum(one.borrowed for one in mine))
                assert all(one.lent <= max(0, one.share - one.used) for one in mine)
                assert sum(one.waiting for one in mine) == sum(other.bucket == use.bucket for other in world.waiting)


@settings(deadline=None)
@given(
    st.integers(1, 30),
    SCRIPTS,
    st.lists(FATES, min_size=1, max_size=20),
    st.sampled_from([Call.BUY, Call.SELL]),
    st.booleans(),
)
def test_the_forecast_for_the_first_in_line_is_exact(
    short: int, script: list[Ask], fates: list[Fate], call: Call, misses: bool
) -> None:
    world = World(Quota(table({60: short}), 1.0, WEIGHTS | {"z": 1.0}, stray_ns=STRAY_NS), Deriv(0, 0), fates)
    world.play([ask._replace(cancels=False) for ask in script])
    for permit in list(world.waiting):
        world._cancel(permit, world.quota)
    world.run(world.now_ns + 26 * S)  # nothing is under way any more
    forecast = world.quota.forecast("z", call, world.now_ns)
    assert (forecast.remaining > 0) == (forecast.wait_ns == 0)
    ready_ns = world.now_ns + forecast.wait_ns
    answer = world.ask("z", call, deadline_ns=ready_ns - 1 if misses else ready_ns)
    if misses:
        assert isinstance(answer, PermitDenied)
        return
    assert isinstance(answer, Permit)
    world.look()
    world.run(ready_ns + 1)
    assert answer.granted_ns == ready_ns

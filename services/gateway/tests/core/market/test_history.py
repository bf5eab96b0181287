"""Recent ticks against the market they stand for, however streams and answers come, go and overtake each other."""

from __future__ import annotations

from decimal import Decimal
from itertools import groupby
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from derivfleet.deriv.candles import Candle
from derivfleet.deriv.ticks import Tick
from derivfleet.gateway.core.market.history import MOST, RecentTicks

Price = tuple[int, Decimal]
NS_PER_S = 10**9
FRESH_NS = 5 * NS_PER_S
GRANULARITIES_S = (60, 120)
START_S = 1_795_161_600


def price(epoch_s: int, pips: int | None = None) -> Price:
    return epoch_s, Decimal(epoch_s % 97 if pips is None else pips).scaleb(-2)


def market(first_s: int, last_s: int, spacing_s: int = 1) -> list[Price]:
    return [price(epoch_s) for epoch_s in range(first_s, last_s + 1, spacing_s)]


def tick(told: Price) -> Tick:
    return Tick("1HZ100V", *told, 2)


def recount(prices: list[Price], granularity_s: int) -> list[Candle]:
    """Candles by grouping: whole groups, where recent ticks go one by one."""
    found: list[Candle] = []
    for number, group in groupby(prices, lambda one: one[0] // granularity_s):
        quotes = [quote for _, quote in group]
        found.append(Candle(number * granularity_s, quotes[0], max(quotes), min(quotes), quotes[-1]))
    return found


class TicksAnswer(NamedTuple):
    prices: list[Price]
    asked: int


class CandlesAnswer(NamedTuple):
    granularity_s: int
    candles: list[Candle]
    asked: int
    mark: int | None


class RecentTicksMachine(RuleBasedStateMachine):
    """Deriv makes ticks; frames and answers are under way for a while; sockets die; what is known is told."""

    @initialize(spacing_s=st.sampled_from([1, 2, None]), past=st.integers(0, 200))
    def begin(self, spacing_s: int | None, past: int) -> None:
        self.spacing_s = spacing_s
        self.recent = RecentTicks(spacing_s, FRESH_NS)
        self.truth = market(START_S - past * (spacing_s or 1), START_S, spacing_s or 1)
        self.opened = 0
        self.frames: list[Price] | None = None
        self.told: Price | None = None
        self.answers: list[TicksAnswer | CandlesAnswer] = []

    @rule(step=st.integers(1, 70), pips=st.integers(1, 500))
    def market_ticks(self, step: int, pips: int) -> None:
        self.truth.append(price(self.truth[-1][0] + (self.spacing_s or step), pips))
        if self.frames is not None:
            self.frames.append(self.truth[-1])

    @rule(count=st.integers(50, 130))
    def market_ticks_for_a_while(self, count: int) -> None:
        for number in range(count):
            self.market_ticks(1, 100 + number * 37 % 89)
        self.frames_arrive(len(self.frames or []))

    @rule(with_latest=st.booleans())
    def stream_opens(self, with_latest: bool) -> None:
        self.opened += 1
        self.told = None
        self.frames = [self.truth[-1]] if with_latest else []

    @rule()
    def socket_dies(self) -> None:
        self.frames = None

    @precondition(lambda self: self.frames)
    @rule(count=st.integers(1, 5))
    def frames_arrive(self, count: int) -> None:
        for _ in range(min(count, len(self.frames or []))):
            assert self.frames is not None
            self.told = self.frames.pop(0)
            self.recent.take(tick(self.told), f"stream {self.opened}", 0)

    @precondition(lambda self: self.frames)
    @rule()
    def a_frame_cannot_be_read(self) -> None:
        assert self.frames is not None
        self.told = None
        self.frames.pop(0)
        self.recent.lose()

    @precondition(lambda self: self.frames and self.spacing_s is not None)
    @rule()
    def a_frame_vanishes(self) -> None:
        assert self.frames is not None
        self.frames.pop(0)

    @rule(asked=st.integers(1, 150), behind=st.integers(0, 3))
    def ticks_are_asked_for(self, asked: int, behind: int) -> None:
        known = self.truth[: len(self.truth) - behind] or self.truth
        self.answers.append(TicksAnswer(known[-asked:], asked))

    # Deriv's records are at most one tick ahead of its stream; and the tick behind, if any, is on the way.
    @precondition(lambda self: self.frames is None or len(self.frames) < 2)
    @rule(granularity_s=st.sampled_from(GRANULARITIES_S), asked=st.integers(1, 8))
    def candles_are_asked_for(self, granularity_s: int, asked: int) -> None:
        candles = recount(self.truth, granularity_s)[-asked:]
        self.answers.append(CandlesAnswer(granularity_s, candles, asked, self.recent.mark(0)))

    @precondition(lambda self: self.answers)
    @rule()
    def an_answer_arrives(self) -> None:
        match self.answers.pop(0):
            case TicksAnswer(prices, asked):
                self.recent.fill(prices, asked, 2, 0)
            case CandlesAnswer(granularity_s, candles, asked, mark):
                self.recent.fill_candles(granularity_s, candles, asked, mark)

    @invariant()
    def ticks_are_those_of_the_market(self) -> None:
        for count in (1, 2, 7, 40, 130):
            given = self.recent.latest(count, 0)
            if given is not None:
                as_of = [one for one in self.truth if one[0] <= given[-1][0]]
                assert list(given) == as_of[-count:]
                assert len(given) == count
                assert self.told is None or given[-1][0] >= self.told[0]

    @invariant()
    def the_past_is_that_of_the_market(self) -> None:
        for back in (0, 3, 60):
            end_s = self.truth[-1][0] - back
            for count in (1, 7, 40):
                given = self.recent.until(end_s, count)
                if given is not None:
                    assert list(given) == [one for one in self.truth if one[0] <= end_s][-count:]

    @invariant()
    def candles_are_those_of_the_market(self) -> None:
        latest = self.recent.latest(1, 0)
        for granularity_s in GRANULARITIES_S:
            for count in (1, 2, 5):
                given = self.recent.candles(granularity_s, count, 0)
                if given is not None:
                    assert latest is not None
                    as_of = [one for one in self.truth if one[0] <= latest[0][0]]
                    assert list(given) == recount(as_of, granularity_s)[-count:]
                    assert len(given) == count


RecentTicksMachine.TestCase.settings = settings(deadline=None, max_examples=100, stateful_step_count=40)
TestRecentTicks = RecentTicksMachine.TestCase


def filled(count: int = 50, spacing_s: int | None = 1) -> RecentTicks:
    """Recent ticks with a history whose last tick the stream has told."""
    recent = RecentTicks(spacing_s, FRESH_NS)
    recent.take(tick(price(START_S)), "a", 0)
    recent.fill(market(START_S - count + 1, START_S), count, 2, 0)
    return recent


@pytest.mark.parametrize("spacing_s", [1, None])
def test_one_answer_and_the_stream_serve_from_then_on(spacing_s: int | None) -> None:
    recent = filled(50, spacing_s)
    for second in range(1, 200):
        recent.take(tick(price(START_S + second)), "a", 0)
        assert recent.latest(50, 0) == tuple(market(START_S + second - 49, START_S + second))
    assert recent.until(START_S + 30, 80) == tuple(market(START_S - 49, START_S + 30))


@pytest.mark.parametrize("stream_first_s", [START_S - 2, START_S, START_S + 1])
def test_an_answer_before_the_stream_is_joined_where_they_overlap_or_touch(stream_first_s: int) -> None:
    recent = RecentTicks(1, FRESH_NS)
    recent.fill(market(START_S - 9, START_S), 10, 2, 0)
    assert recent.latest(5, 0) is None  # who knows what came since
    for epoch_s in range(stream_first_s, START_S + 3):
        recent.take(tick(price(epoch_s)), "a", 0)
    assert recent.latest(12, 0) == tuple(market(START_S - 9, START_S + 2))


def test_without_a_grid_touching_is_not_seen() -> None:
    recent = RecentTicks(None, FRESH_NS)
    recent.fill(market(START_S - 9, START_S), 10, 2, 0)
    recent.take(tick(price(START_S + 1)), "a", 0)
    assert recent.latest(2, 0) is None
    recent.fill(market(START_S - 8, START_S + 1), 10, 2, 0)
    recent.take(tick(price(START_S + 4)), "a", 0)
    assert recent.latest(2, 0) == (price(START_S + 1), price(START_S + 4))


@pytest.mark.parametrize(("gap_s", "stream"), [(2, "a"), (3, "b")])
def test_a_gap_ends_what_is_known_and_one_answer_mends_it(gap_s: int, stream: str) -> None:
    recent = filled()
    recent.fill_candles(60, recount(market(START_S - 600, START_S), 60), 11, recent.mark(0))
    assert recent.candles(60, 11, 0) is not None
    recent.take(tick(price(START_S + gap_s)), stream, 0)
    assert recent.latest(1, 0) == (price(START_S + gap_s),)
    assert recent.latest(2, 0) is None
    assert recent.candles(60, 1, 0) is None
    assert recent.until(START_S, 1) is None
    recent.fill(market(START_S - 10, START_S + gap_s), 60, 2, 0)
    assert recent.latest(3, 0) is not None


def test_a_stream_that_was_opened_again_at_once_misses_nothing() -> None:
    recent = filled()
    recent.take(tick(price(START_S)), "b", 0)
    recent.take(tick(price(START_S + 1)), "b", 0)
    assert recent.latest(51, 0) == tuple(market(START_S - 49, START_S + 1))


def test_an_answer_from_before_a_gap_is_not_joined_to_what_came_after() -> None:
    recent = filled()
    recent.take(tick(price(START_S + 60)), "b", 0)
    recent.fill(market(START_S, START_S + 50), 51, 2, 0)
    assert recent.latest(2, 0) is None
    assert recent.latest(1, 0) == (price(START_S + 60),)


def test_silence_ends_what_is_current_but_not_the_past() -> None:
    recent = filled()
    assert recent.latest(5, FRESH_NS) is not None
    assert recent.latest(5, FRESH_NS + 1) is None
    assert recent.until(START_S, 5) is not None


def test_old_ticks_that_come_after_a_pause_are_not_current() -> None:
    recent = filled()
    for second in range(1, 11):
        recent.take(tick(price(START_S + second)), "a", 10 * NS_PER_S)
        assert (recent.latest(5, 10 * NS_PER_S) is not None) is (second >= 5)


def test_clocks_that_run_apart_slowly_do_no_harm() -> None:
    recent = filled()
    for second in range(1, 86_400, 300):
        now_ns = second * NS_PER_S + second * 200_000  # ours runs faster: ticks seem to come later and later
        for last in range(300):
            recent.take(tick(price(START_S + second + last)), "a", now_ns + last * 1_000_200_000)
        assert recent.latest(5, now_ns + 300 * 1_000_200_000) is not None


def test_where_no_tick_is_due_an_answer_ends_the_silence() -> None:
    for spacing_s, is_current in ((None, True), (1, False)):
        recent = filled(50, spacing_s)
        recent.fill(market(START_S - 49, START_S), 50, 2, FRESH_NS + 1)
        assert (recent.latest(5, FRESH_NS + 1) is not None) is is_current


def test_who_wants_more_than_deriv_gave_asks_deriv() -> None:
    recent = RecentTicks(1, FRESH_NS)
    recent.take(tick(price(START_S)), "a", 0)
    recent.fill(market(START_S - 29, START_S), 100, 2, 0)
    for second in range(1, 40):
        recent.take(tick(price(START_S + second)), "a", 0)
    assert recent.latest(30, 0) is not None
    assert recent.latest(31, 0) is None
    recent.fill(market(START_S - 60, START_S + 39), 100, 2, 0)
    assert recent.latest(100, 0) is not None


def test_a_book_is_bounded_and_still_whole() -> None:
    recent = filled()
    for second in range(1, 3 * MOST):
        recent.take(tick(price(START_S + second)), "a", 0)
    last_s = START_S + 3 * MOST - 1
    assert recent.latest(MOST, 0) == tuple(market(last_s - MOST + 1, last_s))
    assert len(recent._ticks) < 2 * MOST  # pyright: ignore[reportPrivateUsage] - that is what is bounded


def test_candles_of_an_answer_that_is_ahead_wait_for_the_stream() -> None:
    recent = filled()
    truth = [*market(START_S - 300, START_S), price(START_S + 1, 9999), price(START_S + 2, 50)]
    recent.fill_candles(60, recount(truth[:-1], 60), 6, recent.mark(0))
    assert recent.candles(60, 6, 0) is None
    recent.take(tick(truth[-2]), "a", 0)
    assert recent.candles(60, 6, 0) == tuple(recount(truth[:-1], 60)[-6:])
    recent.take(tick(truth[-1]), "a", 0)
    assert recent.candles(60, 6, 0) == tuple(recount(truth, 60)[-6:])


def test_candles_of_an_answer_that_is_late_are_brought_up_to_date() -> None:
    recent = filled()
    truth = market(START_S - 300, START_S + 90)
    mark = recent.mark(0)
    answer = recount(market(START_S - 300, START_S), 60)
    for second in range(1, 91):
        recent.take(tick(price(START_S + second)), "a", 0)
    recent.fill_candles(60, answer, 6, mark)
    recent.take(tick(price(START_S + 91)), "a", 0)
    assert recent.candles(60, 6, 0) == tuple(recount([*truth, price(START_S + 91)], 60)[-6:])


def test_candles_without_a_stream_before_them_are_not_kept() -> None:
    recent = RecentTicks(1, FRESH_NS)
    mark = recent.mark(0)
    recent.take(tick(price(START_S + 5)), "a", 0)
    recent.fill_candles(60, recount(market(START_S - 300, START_S), 60), 6, mark)
    recent.take(tick(price(START_S + 6)), "a", 0)
    assert recent.candles(60, 1, 0) is None


def test_an_answer_of_ticks_ahead_of_the_stream_reaches_the_candles_too() -> None:
    recent = filled()
    recent.fill_candles(60, recount(market(START_S - 300, START_S), 60), 6, recent.mark(0))
    ahead = [*market(START_S - 9, START_S), price(START_S + 1, 9999), price(START_S + 2, 50)]
    recent.fill(ahead, 12, 2, 0)
    for told in ahead[-2:]:
        recent.take(tick(told), "a", 0)
    recent.take(tick(price(START_S + 3)), "a", 0)
    truth = [*market(START_S - 300, START_S), *ahead[-2:], price(START_S + 3)]
    assert recent.candles(60, 6, 0) == tuple(recount(truth, 60)[-6:])

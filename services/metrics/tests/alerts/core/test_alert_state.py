from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from derivfleet.metrics.alerts.core.alert_state import AlertState, Bounds, Phase

VALUES = st.one_of(st.none(), st.integers(0, 10).map(Decimal))
STEPS = st.lists(st.tuples(st.integers(0, 40), VALUES), max_size=40)


@st.composite
def bounds(draw: st.DrawFn) -> Bounds:
    low, high = sorted((draw(st.integers(0, 10)), draw(st.integers(0, 10))))
    below = draw(st.booleans())
    threshold, clear = (low, high) if below else (high, low)
    return Bounds(Decimal(threshold), Decimal(clear), draw(st.integers(0, 60)), draw(st.integers(0, 60)), below)


def firing_by_the_whole_past(limits: Bounds, seen: list[tuple[int, Decimal | None]]) -> list[bool]:
    """The oracle: no state, but a look at all values so far for each instant.

    A run is the longest stretch of values up to now that say the same; what it can change is known from what was true
    when it began.
    """

    def run_ns(upto: int, holds: list[bool], floor: int) -> int | None:
        begin = upto
        while begin >= floor and holds[begin]:
            begin -= 1
        return None if begin == upto else seen[upto][0] - seen[begin + 1][0]

    sign = -1 if limits.below else 1
    bad = [value is not None and (value - limits.threshold) * sign > 0 for _, value in seen]
    good = [value is not None and (value - limits.clear) * sign <= 0 for _, value in seen]
    firing: list[bool] = []
    turned = 0
    for index in range(len(seen)):
        now = firing[-1] if firing else False
        length = run_ns(index, good if now else bad, turned)
        if length is not None and length >= (limits.clear_for_ns if now else limits.for_ns):
            now, turned = not now, index + 1
        firing.append(now)
    return firing


@given(bounds(), STEPS)
def test_it_fires_and_clears_as_the_whole_past_says(limits: Bounds, steps: list[tuple[int, Decimal | None]]) -> None:
    now_ns = 1
    seen: list[tuple[int, Decimal | None]] = []
    watch = AlertState()
    found: list[bool] = []
    for wait_ns, value in steps:
        now_ns += wait_ns
        seen.append((now_ns, value))
        watch = watch.step(limits, value, now_ns)
        found.append(watch.is_firing)
    assert found == firing_by_the_whole_past(limits, seen)


@given(bounds(), STEPS)
def test_each_alert_is_named_by_the_instant_at_which_it_began(
    limits: Bounds, steps: list[tuple[int, Decimal | None]]
) -> None:
    now_ns = 1
    watch = AlertState()
    for wait_ns, value in steps:
        now_ns += wait_ns
        before, watch = watch, watch.step(limits, value, now_ns)
        began = watch.is_firing and not before.is_firing
        assert watch.fired_ns == (now_ns if began else before.fired_ns)
        assert watch.since_ns == (before.since_ns if watch.phase is before.phase else now_ns)


def test_between_threshold_and_clear_nothing_changes() -> None:
    limits = Bounds(Decimal(5), Decimal(2))
    quiet = AlertState().step(limits, Decimal(4), 10)
    loud = AlertState().step(limits, Decimal(6), 10)
    assert (quiet.phase, loud.phase) == (Phase.OK, Phase.FIRING)
    assert loud.step(limits, Decimal(4), 20).phase is Phase.FIRING
    assert loud.step(limits, Decimal(2), 20).phase is Phase.OK


def test_a_value_that_is_not_known_neither_fires_nor_clears() -> None:
    limits = Bounds(Decimal(0), Decimal(0), 30, 30)
    waiting = AlertState().step(limits, Decimal(1), 10)
    assert waiting.phase is Phase.PENDING
    assert waiting.step(limits, None, 50).phase is Phase.OK
    firing = waiting.step(limits, Decimal(1), 40)
    clearing = firing.step(limits, Decimal(0), 50)
    assert clearing.step(limits, None, 90).phase is Phase.FIRING

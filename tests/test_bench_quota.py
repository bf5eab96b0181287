"""The quota's benchmark itself: its figures, its demands, its world, and that a day can be trusted."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace
from io import StringIO
from random import Random
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from bench.quota.__main__ import document, in_order
from bench.quota.baselines import BaselinePermit, Gcra, GlobalLock, PerBotLimits, TokenBucket
from bench.quota.cases import BASELINES, cases, play, time_decisions
from bench.quota.day import Day, StuckError, Tally
from bench.quota.demand import Demand, DemandName, calls_of, demand_of
from bench.quota.figures import Case, Row, jain, lent, percentile
from bench.quota.tables import table_of_rows, table_of_verdicts
from bench.quota.verdicts import judge
from bench.quota.world import CAP_MS, FLOOR_MS, NS_PER_S, SKEW_PPM, START_NS, Clocks, Counters, delays_ns
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.limits import OPTIONS_LIMITS
from derivfleet.deriv.vocabulary import Call, Dialect
from derivfleet.simulator.core.windows import WindowKind

if TYPE_CHECKING:
    from bench.quota.baselines import FirstComeFirstServed

HOUR_NS = 3600 * NS_PER_S
LISTS = OPTIONS_LIMITS.buckets["lists"]  # 30 a minute, 1,500 an hour
SMALL = Case("global_lock", Dialect.OPTIONS, "lists", 10, DemandName.SATURATED, 3)


def day_of(
    design: FirstComeFirstServed | PerBotLimits, demand: DemandName, kinds: list[WindowKind]
) -> Day[BaselinePermit]:
    return Day(design, demand_of(demand, 10, LISTS), Dialect.OPTIONS, LISTS, kinds, "seed")


def test_jain_is_1_for_equals_and_a_tenth_for_one_of_ten() -> None:
    assert jain([3.0] * 10) == 1
    assert jain([5.0] + [0.0] * 9) == pytest.approx(0.1)


def test_a_percentile_is_a_value_that_occurred() -> None:
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile([7], 0.99) == 7
    assert percentile([], 0.99) == 0


def test_lent_is_the_part_of_the_idle_share_that_the_hungry_got() -> None:
    # 1,000 calls, ten bots: the hog's own share is 100; others took 150, exits 50; 700 are idle.
    demand = Demand(dict.fromkeys("abcdefghij", 1.0), hungry=("a",), modest=tuple("bcdefghij"))
    tally = Tally(served=Counter(a=800, b=150), exits=Counter(c=50))
    assert lent(tally, demand, 1000) == 1
    tally.served["a"] = 450
    assert lent(tally, demand, 1000) == 0.5


def test_what_a_bucket_is_played_with() -> None:
    assert calls_of(OPTIONS_LIMITS.buckets["trade"]) == (Call.BUY, Call.SELL)
    for name in Dialect:
        table = dialect(name).limits
        for bucket in table.buckets.values():
            assert [table.bucket_of(call) for call in calls_of(bucket)] == [bucket, bucket]


def test_the_world_keeps_to_what_it_states() -> None:
    delays = delays_ns(Random(1))  # noqa: S311
    assert min(delays) > FLOOR_MS * 1e6
    assert max(delays) <= CAP_MS * 1e6
    assert 49e6 < percentile(delays, 0.5) < 51e6
    for seed in range(20):
        clocks = Clocks(Random(seed))  # noqa: S311
        gained = clocks.server_ns(START_NS + HOUR_NS) - clocks.server_ns(START_NS) - HOUR_NS
        assert gained == pytest.approx(clocks.skew_ppm * 3600 * 1000, abs=4000)
        assert abs(clocks.skew_ppm) <= SKEW_PPM


def test_the_counters_are_the_simulators_and_all_must_admit() -> None:
    counters = Counters(Dialect.OPTIONS, Call.PORTFOLIO, list(WindowKind))
    assert [counters.admit(30 * NS_PER_S) for _ in range(31)] == [True] * 30 + [False]
    assert not counters.admit(70 * NS_PER_S)  # only the window of full minutes would admit it


def test_the_same_seed_is_the_same_day() -> None:
    first, second = (play(SMALL) for _ in range(2))
    assert first == second
    assert len(first) == 3


def test_one_lock_for_all_wastes_its_round_trips_and_lets_exits_wait() -> None:
    row = play(SMALL)[0]
    assert row.refused == 0
    assert row.utilisation == pytest.approx(
        2.4 / (2.4 + 0.117), abs=0.01
    )  # its pause, and two ways of 58 ms on average
    assert row.exit_wait_p99_ms > 20 * 2500  # twenty calls are always ahead


def test_decisions_are_timed_in_the_designs_own_calls() -> None:
    decision_us = time_decisions(SMALL)
    assert decision_us is not None
    assert 0 < decision_us < 1000


@pytest.mark.parametrize("demand", list(DemandName))
def test_no_demand_makes_a_lock_or_a_sized_bucket_exceed_a_limit(demand: DemandName) -> None:
    weights = demand_of(demand, 10, LISTS).weights
    for design in (GlobalLock(LISTS), TokenBucket(LISTS), PerBotLimits(LISTS, weights)):
        day = day_of(design, demand, list(WindowKind))
        assert day.run(START_NS + 2 * HOUR_NS, stop_if_refused=True)
        assert day.tally.accepted > 200


def test_a_design_that_is_refused_gets_a_day_for_each_kind_of_window_and_refused_calls_are_asked_for_again() -> None:
    rows = play(replace(SMALL, design="gcra", demand=DemandName.BURST))
    assert {row.window for row in rows} == set(WindowKind)
    assert all(row.refused > 0 for row in rows)
    day = day_of(Gcra(LISTS), DemandName.BURST, [WindowKind.SLIDING])
    day.run(START_NS + 3 * HOUR_NS - 60 * NS_PER_S)
    assert day.tally.served == day.tally.asked
    assert day.tally.asked.total() == 17 * 30


def test_a_bursts_minute_counts_at_most_the_limit_and_all_that_a_willing_design_sends() -> None:
    day = day_of(Gcra(LISTS), DemandName.BURST, [WindowKind.FIXED_FROM_FIRST_HIT])
    day.run(START_NS + HOUR_NS)
    assert len(day.tally.burst_minutes) == 5
    assert all(20 <= calls <= 30 for calls in day.tally.burst_minutes)


def test_a_design_that_wants_to_be_woken_in_vain_is_found_out() -> None:
    class Restless(GlobalLock):
        def wake_ns(self, now_ns: int) -> int | None:
            return now_ns if self._queue else None

        def dispatch(self, now_ns: int) -> list[BaselinePermit]:
            del now_ns
            return []

    with pytest.raises(StuckError, match="nothing to send"):
        day_of(Restless(LISTS), DemandName.SATURATED, [WindowKind.SLIDING]).run(START_NS + HOUR_NS)


def test_days_are_chosen_by_name_and_baselines_play_few() -> None:
    assert len(cases(24)) == 9 * 3 * 5 + len(BASELINES) * 2 * 5
    named = cases(3, designs=["gcra"], bots=[100], buckets=["lists"], demands=[DemandName.HOG])
    assert named == [Case("gcra", Dialect.OPTIONS, "lists", 100, DemandName.HOG, 3)]


def test_verdicts_name_the_worst_and_speed_is_told_apart() -> None:
    good = Row(
        design="fleet",
        dialect="options",
        window="sliding",
        bucket="trade",
        bots=10,
        demand="saturated",
        hours=24,
        binding="trade/3600s",
        utilisation=0.995,
        refused=0,
        turned_away=0,
        jain=1.0,
        idle_share_lent=None,
        exits=10,
        exit_wait_p99_ms=0.0,
        exit_burst_s=0.1,
        modest_wait_p99_ms=None,
        decision_us=9.0,
        skew_ppm=0.0,
    )
    slow = replace(good, bots=1000, decision_us=19.0, utilisation=0.98)
    verdicts = {verdict.what: verdict for verdict in judge([good, slow, replace(good, design="gcra", refused=9)])}
    assert verdicts["refused by the server"].met
    used = verdicts["utilisation, saturated and burst"]
    assert (used.worst, used.met, used.where) == (0.98, False, "options trade, 1000 bots, saturated")
    growth = verdicts["decision at 1,000 bots / at 10"]
    assert (growth.met, growth.speed, growth.worst) == (False, True, pytest.approx(19 / 9))
    assert judge([replace(good, design="gcra")]) == []


def test_what_is_written_down_and_shown() -> None:
    rows = in_order(play(SMALL))
    written = json.loads(json.dumps(document(rows, judge(rows))))
    assert set(written) == {"assumptions", "cases", "verdicts"}
    assert {"design", "dialect", "window", "class", "bots", "demand", "utilisation", "refused", "jain"} <= set(
        written["cases"][0]
    )
    assert len(written["cases"]) == 3
    console = Console(width=160, file=StringIO(), record=True)
    console.print(table_of_rows(rows))
    console.print(table_of_verdicts(judge([replace(row, design="fleet") for row in rows])))
    shown = console.export_text()
    assert f"{rows[0].utilisation:.4f}" in shown
    assert "NOT MET" in shown  # a lock is no fleet
    assert asdict(rows[0])["bucket"] == "lists"

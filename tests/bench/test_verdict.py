"""What a run comes to."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.speedup.hour import Hour
from bench.speedup.notes import Operation, Story
from bench.speedup.verdict import Purchase, Run, percentile, purchases_of, surplus, verdict_of
from derivfleet.common.fleet import load_fleet
from derivfleet.deriv.limits import OPTIONS_LIMITS

FLEET = load_fleet(Path(__file__).parents[2] / "bench/speedup/fleet.yaml")
TRADE = OPTIONS_LIMITS.buckets["trade"]
HOUR = Hour(speed=10, start_ns=1000 * 10**9, minutes=10, origin_ns=0)


@settings(deadline=None)
@given(trades=st.lists(st.tuples(st.integers(1, 30), st.lists(st.integers(0, 29), max_size=4)), max_size=30))
def test_every_purchase_beyond_the_first_of_a_decision_is_one_too_many(trades: list[tuple[int, list[int]]]) -> None:
    # Each trade lasts from its decision to the next one, and its purchases fall in between.
    decided_s, bought_s, expected, now_s = list[int](), list[int](), 0, 100
    for lasts_s, delays_s in trades:
        decided_s.append(now_s)
        bought_s += [now_s + delay_s % lasts_s for delay_s in delays_s]
        expected += max(0, len(delays_s) - 1)
        now_s += lasts_s
    assert surplus(decided_s, reversed(bought_s)) == expected


@pytest.mark.parametrize(
    ("decided_s", "bought_s", "expected"),
    [
        ([], [], 0),
        ([], [5], 1),
        ([10], [9, 10], 1),
        ([10, 20], [10, 20], 0),
        ([10, 20], [25, 29], 1),
        ([10, 10], [10, 11], 0),
        ([10, 10], [10, 11, 12], 1),
    ],
    ids=[
        "nothing",
        "without a decision",
        "before the first decision",
        "one each",
        "twice for one, none for the other",
        "two decisions in one second",
        "three purchases for those",
    ],
)
def test_a_purchase_belongs_to_the_latest_decision_before_it(
    decided_s: list[int], bought_s: list[int], expected: int
) -> None:
    assert surplus(decided_s, bought_s) == expected


@settings(deadline=None)
@given(values=st.lists(st.integers(0, 50).map(float), min_size=1, max_size=60), part=st.sampled_from([0.5, 0.9, 0.99]))
def test_a_percentile_is_the_least_value_that_covers_its_part(values: list[float], part: float) -> None:
    found = percentile(values, part)
    counts = Counter(values)
    assert sum(count for value, count in counts.items() if value <= found) >= part * len(values)
    assert sum(count for value, count in counts.items() if value < found) < part * len(values)


def contract(**change: object) -> dict[str, object]:
    bought: dict[str, object] = {
        "symbol": "1HZ75V",
        "contract_type": "DIGITUNDER",
        "barrier": "5",
        "buy_price": "0.35",
        "sell_price": "0.68",
        "purchase_time": 1001,
        "sell_time": 1002,
    }
    return bought | change


def test_contracts_are_their_bots() -> None:
    account = {
        "contracts": [contract(), contract(contract_type="DIGITOVER", barrier="4", sell_price=None, sell_time=None)]
    }
    assert purchases_of(account, FLEET) == [
        Purchase("under-75", 1001, 1002, Decimal("0.33")),
        Purchase("over-75", 1001, None, Decimal()),
    ]
    with pytest.raises(KeyError):
        purchases_of({"contracts": [contract(barrier="7")]}, FLEET)


def test_every_contract_has_one_bot_that_could_have_wanted_it() -> None:
    sides = {(bot.symbols, bot.parameters.model_dump_json()) for bot in FLEET.bots}
    assert len(sides) == len(FLEET.bots) == 10


def test_only_what_was_settled_in_the_hour_counts() -> None:
    story = Story({"over-75": [999, 1100]}, [])
    story.operations = [
        Operation("over-75", "buy", 990 * 10**9, 999 * 10**9),
        Operation("over-75", "buy", 1100 * 10**9, 1101 * 10**9),
        Operation("over-75", "buy", 1102 * 10**9, 1105 * 10**9),
    ]
    loss, win = Decimal("-0.35"), Decimal("0.33")
    purchases = [
        Purchase("over-75", 998, 999, loss),
        Purchase("over-75", 1100, 1101, win),
        Purchase("over-75", 1102, 1103, loss),
        Purchase("over-75", 1599, 1600, loss),
        Purchase("over-75", 1599, None, Decimal()),
    ]
    calls = {"buy": 100, "proposal": 80, "proposal_open_contract": 60, "ticks_history": 999}
    found = verdict_of(Run(HOUR, purchases, calls, {"buy": 2, "statement": 1}, story), TRADE)
    assert (found.trades, found.trades_per_min, found.profit) == (2, 0.2, "-0.02")
    assert found.refused == 3
    # The first was bought before any decision; of the four after the second decision it asked for one.
    assert found.duplicates == 4
    assert found.op_ms == {"p50": 1000.0, "p99": 3000.0}
    assert found.ops_per_s == pytest.approx(2 / 600)
    # 14,400 an hour bind, not 360 a minute: 2,400 in ten minutes.
    assert found.utilisation == pytest.approx(240 / 2400)
    assert found.settled_s == [101.0, 103.0]

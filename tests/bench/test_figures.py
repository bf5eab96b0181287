"""What a run comes to."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.speedup.bot_logs import BotLog, Operation
from bench.speedup.figures import Purchase, Run, figures_of, percentile, purchases_of, surplus
from bench.speedup.hour import Hour
from derivfleet.common.fleet import load_fleet
from derivfleet.deriv.limits import OPTIONS_LIMITS

FLEET = load_fleet(Path(__file__).parents[2] / "bench/speedup/fleet.yaml")
TRADE = OPTIONS_LIMITS.buckets["trade"]
S = 10**9
HOUR = Hour(speed=10, start_ns=1000 * 10**9, minutes=10, origin_ns=0)


def most_matched(decided_ns: list[int], bought_s: list[int], skew_ns: int) -> int:
    """How many purchases can be given to decisions, by augmenting paths over what may belong together."""

    def fits(decision: int, purchase: int) -> bool:
        end_ns = (bought_s[purchase] + 1) * S
        superseded = any(other_ns < end_ns - skew_ns for other_ns in decided_ns[decision + 1 :])
        return decided_ns[decision] < end_ns + skew_ns and not superseded

    given_to: dict[int, int] = {}

    def place(purchase: int, seen: set[int]) -> bool:
        for decision in range(len(decided_ns)):
            if decision not in seen and fits(decision, purchase):
                seen.add(decision)
                if decision not in given_to or place(given_to[decision], seen):
                    given_to[decision] = purchase
                    return True
        return False

    return sum(place(purchase, set()) for purchase in range(len(bought_s)))


@settings(deadline=None)
@given(
    decided_ds=st.lists(st.integers(0, 120), max_size=9),
    bought_s=st.lists(st.integers(0, 13), max_size=9),
    skew_ds=st.integers(0, 8),
)
def test_as_many_purchases_as_possible_have_a_decision(
    decided_ds: list[int], bought_s: list[int], skew_ds: int
) -> None:
    decided_ns, skew_ns = [tenth * S // 10 for tenth in sorted(decided_ds)], skew_ds * S // 10
    expected = len(bought_s) - most_matched(decided_ns, bought_s, skew_ns)
    assert surplus(decided_ns, bought_s, skew_ns) == expected


@settings(deadline=None)
@given(trades=st.lists(st.tuples(st.integers(2, 30), st.integers(1, 4)), max_size=30), skew_ms=st.integers(-250, 250))
def test_doubles_are_found_though_the_bots_clock_is_wrong(trades: list[tuple[int, int]], skew_ms: int) -> None:
    # Each trade: decided within a second, bought then and again, and over a second later at the earliest.
    decided_ns, bought_s, expected, now_s = list[int](), list[int](), 0, 100
    for pause_s, purchases in trades:
        decided_ns.append(now_s * S + S // 2 + skew_ms * 1_000_000)
        bought_s += range(now_s, now_s + purchases)
        expected += purchases - 1
        now_s += purchases + pause_s
    assert surplus(decided_ns, bought_s, 300_000_000) == expected


@pytest.mark.parametrize(
    ("decided_s", "bought_s", "expected"),
    [
        ([], [], 0),
        ([], [5], 1),
        ([10.5], [8], 1),
        ([10.5], [10, 10], 1),
        ([10.5, 20.5], [10, 20], 0),
        ([10.5, 20.5], [25, 29], 1),
        ([10.5, 10.9], [10, 11], 0),
        ([156.366, 159.04], [156, 158], 0),
        ([156.366, 159.04], [156, 158, 159], 1),
        ([156.366, 159.5], [156, 158], 1),
        ([100.5, 156.366], [156, 156], 1),
    ],
    ids=[
        "nothing",
        "without a decision",
        "before the first decision",
        "twice",
        "one each",
        "twice for one, none for the other",
        "two decisions in one second",
        "a clock that is a little behind",
        "that, and once more",
        "more than clocks can differ",
        "twice after one that came to nothing",
    ],
)
def test_a_purchase_belongs_to_the_latest_decision_before_it(
    decided_s: list[float], bought_s: list[int], expected: int
) -> None:
    assert surplus([round(second * S) for second in decided_s], bought_s, 200_000_000) == expected


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
    story = BotLog({"over-75": [999 * S + 900_000_000, 1100 * S + 500_000_000]}, [])
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
    found = figures_of(Run(HOUR, purchases, calls, {"buy": 2, "statement": 1}, story), TRADE)
    assert (found.trades, found.trades_per_min, found.profit) == (2, 0.2, "-0.02")
    assert found.refused == 3
    # The first was bought before any decision; of the four after the second decision it asked for one.
    assert found.duplicates == 4
    assert found.op_ms == {"p50": 1000.0, "p99": 3000.0}
    assert found.ops_per_s == pytest.approx(2 / 600)
    # 14,400 an hour bind, not 360 a minute: 2,400 in ten minutes.
    assert found.utilisation == pytest.approx(240 / 2400)
    assert found.settled_s == [101.0, 103.0]

from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from derivfleet.gateway.core.reconcile.matching import cheapest

ROWS = st.lists(st.dictionaries(st.integers(0, 3), st.integers(0, 9), max_size=4), max_size=4)


def best(costs: list[dict[int, int]]) -> tuple[int, int]:
    """How many rows can get a column, and what that costs at least, by trying everything."""
    columns = [0, 1, 2, 3, *[-1] * len(costs)]
    found = {(0, 0)}
    for tried in set(permutations(columns, len(costs))):
        pairs = [(row, column) for row, column in zip(costs, tried, strict=True) if column in row]
        found.add((len(pairs), sum(row[column] for row, column in pairs)))
    most = max(count for count, _ in found)
    return most, min(cost for count, cost in found if count == most)


@given(ROWS)
def test_as_many_as_possible_and_then_as_cheap_as_possible(costs: list[dict[int, int]]) -> None:
    given_away = cheapest(costs)
    assert len(set(given_away.values())) == len(given_away)
    spent = sum(costs[row][column] for column, row in given_away.items())
    most, least = best(costs)
    assert len(given_away) == most
    if most == len(costs):
        assert spent == least


def test_a_long_chain_moves_up() -> None:
    costs = [{index: 0, index + 1: 1} for index in range(300)]
    assert cheapest([*costs, {0: 0}]) == {0: 300} | {index + 1: index for index in range(300)}

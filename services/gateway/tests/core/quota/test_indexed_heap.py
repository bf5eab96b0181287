"""The heap against a plain table that is searched for its lowest value."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from derivfleet.gateway.core.quota.indexed_heap import Heap

NUMBERS = 5


def heap() -> Heap:
    made = Heap()
    for _ in range(NUMBERS):
        made.admit()
    return made


@given(st.lists(st.tuples(st.sampled_from(["place", "remove"]), st.integers(0, NUMBERS - 1), st.integers(0, 4))))
def test_the_lowest_value_is_first_and_of_equals_who_came_first(steps: list[tuple[str, int, int]]) -> None:
    found, table = heap(), dict[int, tuple[int, int]]()
    for count, (step, number, value) in enumerate(steps):
        if step == "place":
            found.place(number, value)
            table[number] = (value, count)
        else:
            found.remove(number)
            table.pop(number, None)
        expected = min(table, key=lambda one: table[one], default=-1)
        assert found.first() == expected
        assert found.lowest() == (table[expected][0] if table else None)
        for limit in range(6):
            assert found.first_until(limit) == (expected if table and table[expected][0] <= limit else -1)


def test_an_instant_of_this_century_keeps_its_nanoseconds() -> None:
    made = heap()
    made.place(4, 1_800_000_000_000_000_001)
    made.place(3, 1_800_000_000_000_000_000)
    assert (made.first(), made.lowest()) == (3, 1_800_000_000_000_000_000)


def test_placing_over_and_over_leaves_little_behind() -> None:
    made = heap()
    for value in range(5000):
        made.place(0, value)
        made.place(1, value)
        made.remove(1)
    assert len(made) < 200
    assert made.first() == 0

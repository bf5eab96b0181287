"""The REST budget: half of what Deriv admits, whatever the windows."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.connection.core.rest_budget import RestBudget

S = 10**9


def test_the_budget_is_half_of_what_deriv_admits() -> None:
    budget = RestBudget({60: 80})
    for number in range(40):
        assert budget.wait_ns(number * S) == 0
        budget.spend(number * S)
    assert budget.wait_ns(40 * S) == 20 * S
    assert budget.wait_ns(60 * S) == 0


def test_a_refusal_empties_the_budget() -> None:
    budget = RestBudget({60: 80, 600: 400})
    budget.refused(5 * S)
    assert budget.wait_ns(5 * S) == 60 * S
    assert budget.wait_ns(65 * S) == 0


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from([2, 5, 9]), st.integers(2, 12), min_size=1),
    st.lists(st.integers(0, 3 * S), max_size=60),
)
def test_no_span_holds_more_than_its_part_and_none_waits_in_vain(windows: dict[int, int], steps: list[int]) -> None:
    budget = RestBudget(windows, part=0.5)
    made: list[int] = []
    now_ns = 0

    def is_full(time_ns: int) -> bool:
        return any(
            sum(time_ns - length_s * S < call_ns for call_ns in made) >= max(1, most // 2)
            for length_s, most in windows.items()
        )

    for step_ns in steps:
        now_ns += step_ns
        wait_ns = budget.wait_ns(now_ns)
        assert (wait_ns > 0) == is_full(now_ns)
        if wait_ns:
            assert is_full(now_ns + wait_ns - 1)
            assert not is_full(now_ns + wait_ns)
            now_ns += wait_ns
        budget.spend(now_ns)
        made.append(now_ns)

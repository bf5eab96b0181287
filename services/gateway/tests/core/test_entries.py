"""Ways in: the REST budget, the shared backoff, the cap of sockets."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.gateway.core.entries import GHOST_NS, EntryQueue, RestBudget

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


def test_a_failure_makes_every_seat_wait_and_each_further_one_longer() -> None:
    queue = EntryQueue("demo", 4)
    assert queue.wait_ns(0) == (0, "")
    waits: list[int] = []
    for _ in range(8):
        queue.failed(0)
        wait_ns, reason = queue.wait_ns(0)
        assert reason == ""
        assert queue.wait_ns(wait_ns)[0] == 0
        waits.append(wait_ns)
    assert waits[0] <= S
    assert waits[:5] == sorted(waits[:5])
    assert max(waits) <= 30 * S
    assert queue.failures == 8
    queue.entered()
    queue.failed(0)
    assert queue.wait_ns(0)[0] == waits[0]


def test_sockets_given_up_in_silence_count_until_deriv_has_noticed() -> None:
    queue = EntryQueue("demo", 4)
    for number in range(2):
        queue.entered()
        queue.entered()
        queue.ended(number * S, may_linger=True)
    assert queue.wait_ns(2 * S) == (GHOST_NS - 2 * S, "4 sockets of this user may still be open at Deriv")
    assert queue.wait_ns(GHOST_NS) == (0, "")


def test_sockets_that_ended_with_a_word_make_room_at_once() -> None:
    queue = EntryQueue("demo", 2)
    for _ in range(10):
        queue.entered()
        queue.entered()
        assert queue.wait_ns(0)[0] > 0
        queue.ended(0, may_linger=False)
        assert queue.wait_ns(0)[0] == 0
        queue.ended(0, may_linger=False)


def test_with_no_socket_left_ghosts_keep_nobody_out() -> None:
    queue = EntryQueue("demo", 2)
    for _ in range(2):
        queue.entered()
        queue.ended(0, may_linger=True)
    assert queue.wait_ns(0) == (0, "")

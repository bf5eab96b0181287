"""Blocks of calls that are written down before they are made, against a list of every call that was made."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.gateway.core.quota.write_ahead import BLOCK_LASTS_NS, Block, Blocks

S = 10**9
LANDING_NS = 30 * S


def test_a_block_is_opened_before_its_first_call_and_holds_as_many_as_two_seconds_do() -> None:
    opened = list[Block]()
    blocks = Blocks("trade", 360, LANDING_NS, opened)
    for _ in range(12):
        blocks.spend(0)
    assert opened == [Block("trade", 0, 12)]
    blocks.spend(3 * S)
    assert opened == [Block("trade", 0, 12), Block("trade", 3 * S, 12)]


def test_a_bucket_of_few_calls_has_blocks_of_one() -> None:
    opened = list[Block]()
    blocks = Blocks("lists", 3, LANDING_NS, opened)
    blocks.spend(0)
    blocks.spend(1)
    assert [block.calls for block in opened] == [1, 1]


def test_an_open_block_is_not_used_for_ever() -> None:
    opened = list[Block]()
    blocks = Blocks("trade", 360, LANDING_NS, opened)
    blocks.spend(0)
    blocks.spend(BLOCK_LASTS_NS)
    assert [block.opened_ns for block in opened] == [0, BLOCK_LASTS_NS]


def test_a_call_that_was_not_made_makes_room_in_its_own_block_only() -> None:
    blocks = Blocks("trade", 60, LANDING_NS, [])
    first, second, third = (blocks.spend(0) for _ in range(3))
    assert first == second != third
    blocks.give_back(first)
    blocks.give_back(third)
    assert [blocks.spend(0) for _ in range(3)] == [third, third, third + 1]


def test_whoever_starts_anew_counts_an_open_block_as_spent_at_the_latest_possible() -> None:
    blocks = Blocks("trade", 360, LANDING_NS, [])
    written = [Block("trade", 10 * S, 12), Block("other", 11 * S, 7), Block("trade", 100 * S, 12)]
    assert blocks.spent(written, 200 * S) == [(100 * S + LANDING_NS, 12), (200 * S, 12)]


def test_a_block_that_was_closed_a_while_ago_counts_from_when_its_last_call_had_landed() -> None:
    written = [Block("trade", 0, 12)]
    assert Blocks("trade", 360, LANDING_NS, []).spent(written, 3600 * S) == [(BLOCK_LASTS_NS + LANDING_NS, 12)]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 0, 0, 1, 30, 700]), st.integers(1, 40), st.integers(0, 40)),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from([1, 29, 60, 360]),
    st.integers(0, 5000),
)
def test_at_any_instant_a_new_run_knows_of_as_many_calls_as_may_still_count(
    steps: list[tuple[int, int, int]], limit: int, later_s: int
) -> None:
    written, now_ns = list[Block](), 0
    blocks = Blocks("trade", limit, LANDING_NS, written)
    made: list[int] = []
    for pause_s, calls, not_sent in steps:
        now_ns += pause_s * S
        permits = [blocks.spend(now_ns) for _ in range(calls)]
        for permit in permits[:not_sent]:
            blocks.give_back(permit)
        made += [now_ns] * len(permits[not_sent:])
    now_ns += later_s * S
    known = blocks.spent(written, now_ns)
    for begin_ns in {0, *made}:
        assert sum(calls for landed_ns, calls in known if landed_ns >= begin_ns) >= sum(at >= begin_ns for at in made)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.gateway.core.market.coalescing import Cache, HistoryQuery, KeptStreams, Saving, Savings, rows_to_ask

NOW_S = 1_795_161_600
NOW_NS = NOW_S * 10**9


def test_savings_are_counted_by_kind_and_begin_at_nothing() -> None:
    savings = Savings()
    savings.count(Saving.HISTORY)
    savings.count(Saving.HISTORY)
    assert savings.counts == {"ticks": 0, "history": 2, "contract": 0}


@pytest.mark.parametrize(
    ("end_s", "granularity_s", "last_s", "is_closed"),
    [
        (NOW_S - 60, 0, NOW_S - 60, True),
        (NOW_S - 59, 0, NOW_S - 59, False),
        (NOW_S - 60, 0, NOW_S - 300, True),  # a market that was quiet
        (NOW_S - 10**8, 0, NOW_S, False),  # too long ago: the latest in its place
        (NOW_S + 100, 0, NOW_S, False),
        (NOW_S - 61, 60, NOW_S - 120, True),  # NOW_S is a whole minute
        (NOW_S - 60, 60, NOW_S - 60, False),  # ends now
        (NOW_S - 3600, 86_400, NOW_S - NOW_S % 86_400, False),
        (NOW_S - 86_400, 3600, NOW_S - 86_400, True),
    ],
)
def test_only_what_has_ended_is_closed(end_s: int, granularity_s: int, last_s: int, is_closed: bool) -> None:
    assert HistoryQuery("R_50", 10, end_s, granularity_s).is_closed(last_s, NOW_NS) is is_closed


@given(st.integers(1, 5000))
def test_enough_rows_are_asked_for_and_few_lengths_serve_all(count: int) -> None:
    assert rows_to_ask(count) >= count
    assert len({rows_to_ask(other) for other in range(1, 5001, 99)}) == 3


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(1, 12))))
def test_a_cache_holds_what_was_used_last_and_no_more_than_it_has_room_for(
    steps: list[tuple[bool, int, int]],
) -> None:
    cache: Cache[int, str] = Cache(20)
    used: list[tuple[int, int]] = []  # key and weight, the last used one last
    for is_put, key, weight in steps:
        held = dict(used)
        if is_put:
            cache.put(key, f"value of {key}", weight)
            used = [(other, size) for other, size in used if other != key] + [(key, weight)]
            while sum(size for _, size in used) > 20:
                used.pop(0)
        else:
            assert cache.get(key) == (f"value of {key}" if key in held else None)
            used = sorted(used, key=lambda pair: pair[0] == key)
        assert cache.weight == sum(size for _, size in used)
    for key, _ in used:
        assert cache.get(key) is not None


def test_what_is_larger_than_the_room_is_not_held() -> None:
    cache: Cache[str, int] = Cache(10)
    cache.put("large", 1, 11)
    assert (cache.get("large"), cache.weight) == (None, 0)


def test_a_stream_is_kept_for_a_while_after_the_last_request() -> None:
    kept = KeptStreams(2, 100)
    assert kept.wake_ns is None
    assert kept.ask("a", 0)
    assert kept.ask("b", 10)
    assert kept.ask("a", 50)
    assert kept.wake_ns == 110
    assert kept.due(109) == []
    assert kept.due(110) == ["b"]
    assert kept.wake_ns == 150
    assert kept.due(1000) == ["a"]
    assert kept.wake_ns is None


def test_nobody_is_put_out_for_one_more() -> None:
    kept = KeptStreams(2, 100)
    assert kept.ask("a", 0)
    assert kept.ask("b", 0)
    assert not kept.ask("c", 50)
    assert kept.ask("a", 60)
    assert kept.due(100) == ["b"]
    assert kept.ask("c", 100)


def test_a_stream_that_was_refused_is_left_alone_for_a_while() -> None:
    kept = KeptStreams(2, 100)
    assert kept.ask("a", 0)
    kept.refuse("a")
    kept.refuse("unknown")
    assert not kept.ask("a", 99)
    assert kept.due(100) == ["a"]
    assert kept.ask("a", 101)
    assert kept.ask("unknown", 101)

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from derivfleet.metrics.sums.time_levels import LEVELS_S, pieces


@given(st.integers(0, 5_000), st.integers(1, 5_000))
def test_pieces_fill_a_run_without_gap_or_overlap(start_minute: int, minutes: int) -> None:
    start_s, end_s = start_minute * 60, (start_minute + minutes) * 60
    at_s = start_s
    for level_s, first_s, last_s in pieces(start_s, end_s):
        assert first_s == at_s
        assert level_s in LEVELS_S
        assert first_s % level_s == last_s % level_s == 0
        at_s = last_s
    assert at_s == end_s
    assert len(pieces(start_s, end_s)) <= 5

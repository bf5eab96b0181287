from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from derivfleet.common.backoff import backoff_s


@given(attempt=st.integers(0, 1000), key=st.text(max_size=20))
def test_a_wait_lies_between_half_and_all_of_the_doubling(attempt: int, key: str) -> None:
    full = min(30.0, 2.0**attempt)
    assert full / 2 <= backoff_s(attempt, key) <= full


def test_the_same_question_has_the_same_answer_and_others_differ() -> None:
    assert backoff_s(3, "a") == backoff_s(3, "a")
    assert len({backoff_s(3, key) for key in "abcdefgh"}) == 8

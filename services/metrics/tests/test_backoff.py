from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from derivfleet.metrics.backoff import delay_s


@given(st.text(max_size=20), st.integers(0, 10_000))
def test_a_delay_grows_to_thirty_seconds_and_stays_within_its_jitter(name: str, attempt: int) -> None:
    whole = min(30.0, 0.5 * 2.0 ** min(attempt, 100))
    assert whole / 2 <= delay_s(name, attempt) <= whole
    assert delay_s(name, attempt) == delay_s(name, attempt)


def test_two_names_do_not_try_in_step() -> None:
    assert [delay_s("a", attempt) for attempt in range(8)] != [delay_s("b", attempt) for attempt in range(8)]

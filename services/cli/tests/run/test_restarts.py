"""When a process is started again, and when not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from derivfleet.cli.run.restarts import STABLE_S, GiveUp, Restart, restart_or_give_up


@given(st.floats(0, 1e6), st.integers(0, 50))
def test_an_end_for_its_configuration_is_final(ran_s: float, failures: int) -> None:
    assert restart_or_give_up("over-4", 2, ran_s, failures) == GiveUp()


@given(st.integers(-15, 255).filter(lambda code: code != 2), st.integers(0, 50))
def test_a_crash_is_answered_with_growing_pauses(code: int, failures: int) -> None:
    verdict = restart_or_give_up("over-4", code, 1.0, failures)
    full_s = min(30.0, 0.5 * 2**failures)
    assert isinstance(verdict, Restart)
    assert full_s / 2 <= verdict.after_s <= full_s
    assert verdict.failures == failures + 1


def test_after_a_stable_run_the_pause_is_short_again() -> None:
    verdict = restart_or_give_up("over-4", 1, STABLE_S, 7)
    assert isinstance(verdict, Restart)
    assert verdict.failures == 1
    assert verdict.after_s <= 0.5

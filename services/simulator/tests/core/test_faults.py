"""Faults happen when their rule says, and the same ones every time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from derivfleet.deriv.vocabulary import Call
from derivfleet.simulator.core.faults import FaultKind, FaultRule, Faults


def happened(faults: Faults, calls: list[Call]) -> list[bool]:
    return [faults.on_call(call) is not None for call in calls]


def test_a_rule_for_one_call_leaves_the_others_alone() -> None:
    faults = Faults("1")
    faults.add(FaultRule(FaultKind.DROP_AFTER, Call.BUY))
    assert happened(faults, [Call.BUY, Call.SELL, Call.BUY]) == [True, False, True]


def test_a_rule_skips_then_counts() -> None:
    faults = Faults("1")
    number = faults.add(FaultRule(FaultKind.DELAY, Call.BUY, count=2, skip=1))
    assert happened(faults, [Call.BUY] * 5) == [False, True, True, False, False]
    assert faults.active[number].happened == 2


def test_the_first_rule_that_applies_wins_and_a_spent_one_makes_room() -> None:
    faults = Faults("1")
    faults.add(FaultRule(FaultKind.DROP_BEFORE, Call.BUY, count=1))
    faults.add(FaultRule(FaultKind.DELAY))
    kinds = [rule.kind for call in (Call.BUY, Call.BUY, Call.PING) if (rule := faults.on_call(call))]
    assert kinds == [FaultKind.DROP_BEFORE, FaultKind.DELAY, FaultKind.DELAY]


def test_logins_and_calls_do_not_mix() -> None:
    faults = Faults("1")
    faults.add(FaultRule(FaultKind.REFUSE_LOGIN, count=1))
    assert not happened(faults, [Call.AUTHORIZE])[0]
    assert not faults.on_handshake()
    assert [faults.on_login(), faults.on_login()] == [True, False]
    faults.add(FaultRule(FaultKind.REFUSE_HANDSHAKE, count=1))
    assert [faults.on_login(), faults.on_handshake(), faults.on_handshake()] == [False, True, False]


def test_cleared_rules_are_gone() -> None:
    faults = Faults("1")
    faults.add(FaultRule(FaultKind.DELAY))
    faults.clear()
    assert faults.on_call(Call.PING) is None
    assert faults.active == {}


@given(seed=st.text(max_size=4), probability=st.sampled_from([0.0, 0.2, 0.5, 1.0]))
def test_chances_follow_from_the_seed(seed: str, probability: float) -> None:
    runs: list[list[bool]] = []
    for _ in range(2):
        faults = Faults(seed)
        faults.add(FaultRule(FaultKind.DELAY, probability=probability))
        runs.append(happened(faults, [Call.PING] * 400))
    assert runs[0] == runs[1]
    assert abs(sum(runs[0]) / 400 - probability) < 0.13  # five standard errors of a fair coin

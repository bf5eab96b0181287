from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from derivfleet.metrics.alerts.core.alert_state import AlertState, Phase
from derivfleet.metrics.alerts.core.notices import LastNotice, NoticeKind, Silence, is_silenced, notice_due

NAMES = st.sampled_from(["", "a", "b"])
LOOKS = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40)
"""At each look: whether it fires, and whether silence was asked for."""


def told_by(looks: list[tuple[bool, bool]]) -> list[tuple[int, NoticeKind]]:
    """What is told at which look, by the machine."""
    watch, told = AlertState(), LastNotice()
    found: list[tuple[int, NoticeKind]] = []
    for number, (firing, silenced) in enumerate(looks, 1):
        if firing and not watch.is_firing:
            watch = AlertState(Phase.FIRING, number, number)
        elif watch.is_firing and not firing:
            watch = AlertState(Phase.OK, number, watch.fired_ns)
        kind = notice_due(watch, told, silenced=silenced)
        if kind is not None:
            found.append((number, kind))
            told = told.after(watch)
    return found


@given(LOOKS)
def test_people_know_the_truth_whenever_nobody_asks_for_silence(looks: list[tuple[bool, bool]]) -> None:
    """The oracle: after each look without silence, what was told last is what is true; nothing is told twice."""
    told = told_by(looks)
    for number, (firing, silenced) in enumerate(looks, 1):
        until_now = [kind for at, kind in told if at <= number]
        at_it = [kind for at, kind in told if at == number]
        if silenced:
            assert at_it == []
        else:
            assert (until_now[-1:] == [NoticeKind.FIRED]) == firing
    # An alert is told again only if it is another one.
    starts = [
        number for number, (firing, _) in enumerate(looks, 1) if firing and not (number > 1 and looks[number - 2][0])
    ]
    assert len([kind for _, kind in told if kind is NoticeKind.FIRED]) <= len(starts)
    kinds = [kind for _, kind in told]
    assert all(pair != (NoticeKind.CLEARED, NoticeKind.CLEARED) for pair in pairwise(kinds))


def test_an_alert_that_began_and_ended_in_silence_is_never_told() -> None:
    assert told_by([(True, True), (False, True), (False, False)]) == []


def test_another_alert_of_the_same_watch_is_told_even_if_the_end_of_the_first_was_silenced() -> None:
    assert told_by([(True, False), (False, True), (True, False)]) == [(1, NoticeKind.FIRED), (3, NoticeKind.FIRED)]


@given(NAMES, NAMES, NAMES, NAMES, st.integers(0, 20), st.integers(0, 20))
def test_an_empty_name_means_every_one(
    rule: str, bot: str, of_rule: str, of_bot: str, until_ns: int, now_ns: int
) -> None:
    silence = Silence(rule, bot, until_ns)
    matches = of_rule in ({"", "a", "b"} if not rule else {rule}) and of_bot in ({"", "a", "b"} if not bot else {bot})
    assert is_silenced([silence], of_rule, of_bot, now_ns) == (matches and now_ns < until_ns)
    assert not is_silenced([], of_rule, of_bot, now_ns)

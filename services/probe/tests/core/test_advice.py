"""What the fleet file is advised to say, and that it takes it."""

from __future__ import annotations

from typing import Any

import pytest

from derivfleet.common.fleet import Limits
from derivfleet.deriv.limits import OPTIONS_LIMITS
from derivfleet.deriv.vocabulary import Call
from derivfleet.probe.core.advice import advise
from derivfleet.probe.core.bounds import Experiment, steps_of
from derivfleet.probe.core.findings import Confidence, Finding
from derivfleet.probe.core.notebook import Notebook
from derivfleet.probe.core.offset import TimeSample
from derivfleet.probe.core.theories import Sighting

S = 1_000_000_000
T0 = 1_795_161_615 * S
"""The fifteenth second of a minute."""
ALL = tuple(experiment for experiment in Experiment if experiment is not Experiment.HOUR)


def measured(value: int) -> Finding[int]:
    return Finding(Confidence.MEASURED, (value,), "so it was")


def notebook(limit: int = 30, second_refused: bool = True, **more: Any) -> Notebook:
    """A bucket with a sliding window, as its experiment sees it: four early, the rest later, the four again."""
    note = Notebook(OPTIONS_LIMITS, Call.PORTFOLIO, ALL, **more)
    note.samples.append(TimeSample(T0, T0, T0 // S))
    note.samples.append(TimeSample(T0 + S - 1, T0 + S - 1, T0 // S))
    at_ns = T0

    def call(accepted: bool, after_ns: int = S // 10, socket: int = 0) -> None:
        nonlocal at_ns
        at_ns += after_ns
        note.seen.append(Sighting(at_ns, at_ns, accepted, socket))

    for _ in range(4):
        call(accepted=True)
    call(accepted=True, after_ns=12 * S)
    for _ in range(limit - 5):
        call(accepted=True)
    call(accepted=False)
    call(accepted=not second_refused, socket=1)
    for _ in range(6):
        call(accepted=False)
    call(accepted=True, after_ns=T0 + 62 * S - at_ns)
    for _ in range(3):
        call(accepted=True)
    call(accepted=False)
    return note


def test_a_window_as_published_makes_full_use_safe() -> None:
    note = notebook(streams=measured(100), connections=measured(4))
    advice = advise(note, 12.9)
    assert advice.limits == {
        "headroom": 1.0,
        "fastest_answer_ms": 10,
        "windows": {"lists": {60: 30}},
        "streams_per_connection": 100,
        "connections": 4,
    }
    assert Limits.model_validate(advice.limits).headroom == 1.0
    assert note.is_complete


@pytest.mark.parametrize(
    ("note", "why"),
    [
        (notebook(limit=25), "lists admit 25 a minute, not 30"),
        (notebook(second_refused=False), "all sockets of the account"),
        (notebook(surprises=2), "2 calls were refused where the published limits had room"),
        (notebook(troubles={Experiment.LATENCY: "the line was cut"}), "latency went wrong"),
        (Notebook(OPTIONS_LIMITS, Call.PORTFOLIO, ALL), "the window was not found out"),
    ],
)
def test_anything_else_leaves_the_headroom_as_it_is(note: Notebook, why: str) -> None:
    advice = advise(note, 12.9)
    assert "headroom" not in advice.limits
    assert any(why in reason for reason in advice.reasons), advice.reasons
    assert Limits.model_validate(advice.limits).headroom == 0.95


def test_a_lower_limit_is_written_down() -> None:
    assert advise(notebook(limit=25)).limits["windows"] == {"lists": {60: 25}}


def test_a_higher_limit_is_no_reason_for_caution() -> None:
    advice = advise(notebook(limit=40))
    assert advice.limits == {"headroom": 1.0, "windows": {"lists": {60: 40}}}


def test_a_single_socket_is_said_and_not_set() -> None:
    advice = advise(notebook(connections=measured(1)))
    assert "connections" not in advice.limits
    assert any("the gateway needs 2" in reason for reason in advice.reasons)


def test_what_somebody_else_disturbed_is_forgotten() -> None:
    note = notebook(streams=measured(100), connections=measured(4))
    note.distrust()
    assert note.window.kind.values == ()
    assert not note.is_complete
    assert "windows" not in advise(note).limits


def test_what_was_not_chosen_is_not_missed() -> None:
    note = Notebook(OPTIONS_LIMITS, Call.PORTFOLIO, (Experiment.STREAMS,), streams=measured(100))
    assert note.is_complete
    assert advise(note).limits == {"streams_per_connection": 100}
    assert advise(note).reasons == ()


def test_steps_come_in_their_order_and_the_hour_only_if_chosen() -> None:
    bucket = OPTIONS_LIMITS.buckets["lists"]
    assert [step.experiment for step in steps_of(bucket, set(ALL))] == list(ALL)
    (step,) = steps_of(bucket, {Experiment.HOUR})
    assert step.calls == 1500 + 75 + 1
    assert steps_of(bucket, {Experiment.HOUR}, hour_calls=90)[0].calls == 91

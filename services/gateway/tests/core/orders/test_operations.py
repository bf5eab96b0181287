"""What each step of an operation means, for purchases and exits alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.orders.exit import EXIT, ExitState
from derivfleet.gateway.core.orders.operations import Denied, Lost, Rejected, Sent, Step, Walk
from derivfleet.gateway.core.orders.order import PURCHASE, State

STEPS: dict[str, Step] = {
    "denied": Denied("c", "m"),
    "sent": Sent(7),
    "rejected": Rejected("c", "m"),
    "lost": Lost("c", "m"),
}
ALLOWED = {
    "purchase": {
        "intended": {"denied", "sent"},
        "sent": {"denied", "rejected", "lost"},
        "unknown": {"rejected"},
    },
    "exit": {
        "intended": {"denied", "sent"},
        "sent": {"denied", "rejected", "lost"},
        "unknown": {"rejected"},
        "done": {"rejected"},
        "not_done": {"rejected"},
    },
}
"""By what ``docs/orders.md`` says; every other pair is a mistake of ours."""
WALKS: dict[str, tuple[Walk[Any], type[State | ExitState]]] = {
    "purchase": (PURCHASE, State),
    "exit": (EXIT, ExitState),
}


@dataclass(frozen=True)
class Thing:
    state: Any
    sent_time_ns: int = 0
    answered_time_ns: int = 0
    lost_time_ns: int = 0
    error_code: str = ""
    error_message: str = ""


@pytest.mark.parametrize("kind", WALKS)
def test_only_the_steps_of_the_table_may_follow_a_state(kind: str) -> None:
    walk, states = WALKS[kind]
    for state in states:
        allowed = {name for name, step in STEPS.items() if walk.allows(state, step)}
        assert allowed == ALLOWED[kind].get(str(state), set()), state


@pytest.mark.parametrize("kind", WALKS)
def test_a_step_says_when_it_was_and_why(kind: str) -> None:
    walk, states = WALKS[kind]
    thing = Thing(walk.written)
    assert walk.after(thing, Sent(7), 5) == Thing(states("sent"), sent_time_ns=5)
    for name in ("denied", "rejected"):
        moved = walk.after(thing, STEPS[name], 5)
        assert moved == Thing(states(name), answered_time_ns=5, error_code="c", error_message="m")
    lost = walk.after(thing, Lost("c", "m"), 5)
    assert lost == Thing(states("unknown"), lost_time_ns=5, error_code="c", error_message="m")


@pytest.mark.parametrize(
    ("walk", "call", "state", "code", "step"),
    [
        (PURCHASE, Call.BUY, State.SENT, "InsufficientBalance", Rejected),
        (PURCHASE, Call.BUY, State.UNKNOWN, "InsufficientBalance", Rejected),
        (PURCHASE, Call.BUY, State.NOT_FOUND, "InsufficientBalance", None),
        (PURCHASE, Call.BUY, State.SENT, "NobodyKnowsThis", Lost),
        (PURCHASE, Call.BUY, State.UNKNOWN, "NobodyKnowsThis", None),
        (EXIT, Call.SELL, ExitState.SENT, "ContractAlreadySold", Rejected),
        (EXIT, Call.SELL, ExitState.NOT_DONE, "ContractAlreadySold", Rejected),
        (EXIT, Call.SELL, ExitState.SENT, "NobodyKnowsThis", Lost),
        (EXIT, Call.SELL, ExitState.DENIED, "ContractAlreadySold", None),
    ],
)
def test_an_error_rejects_only_where_it_proves_that_nothing_was_done(
    walk: Walk[Any], call: Call, state: Any, code: str, step: type[Rejected | Lost] | None
) -> None:
    found = walk.refused(state, call, code, "so it is")
    assert found == (None if step is None else step(code, "so it is"))


def test_a_frame_that_was_never_handed_over_was_not_sent_and_any_other_silence_is_unknown() -> None:
    assert PURCHASE.unanswered("Timeout", handed_over=False, who_tells="x") == Denied(
        "NOT_SENT", "the socket closed before it was sent"
    )
    assert PURCHASE.unanswered("Timeout", handed_over=True, who_tells="x") == Lost(
        "Timeout", "the answer was lost; x will tell"
    )


@pytest.mark.parametrize("kind", WALKS)
def test_what_nobody_carries_on_is_denied_before_it_was_sent_and_unknown_after(kind: str) -> None:
    walk, states = WALKS[kind]
    found = {state: walk.abandoned(state, "the gateway ended") for state in states}
    assert {state: step for state, step in found.items() if step is not None} == {
        states("intended"): Denied("NOT_SENT", "the gateway ended before it was sent"),
        states("sent"): Lost("ABANDONED", "the gateway ended before the answer came"),
    }

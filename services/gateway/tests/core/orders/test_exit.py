from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from derivfleet.gateway.core.orders.exit import (
    DECIDED,
    EXITS_KEPT,
    Ending,
    Exit,
    ExitDone,
    ExitEvent,
    ExitKind,
    ExitNotDone,
    ExitState,
    ExitTerms,
    ExitTransitionError,
    added,
    advance_exit,
    after_the_end,
    differing_exit_field,
    fresh_id,
    in_the_way,
    is_late_enough,
    look_ns,
)
from derivfleet.gateway.core.orders.operations import Denied, Lost, Rejected, Sent

if TYPE_CHECKING:
    from collections.abc import Sequence

S = 10**9
SALE = ExitTerms(ExitKind.SELL, Decimal("1.50"))
EXIT = Exit("sell-1", SALE, ExitState.INTENDED, 1)
EVENTS: tuple[ExitEvent, ...] = (
    Denied("LIMIT_REACHED", "too late"),
    Sent(),
    ExitDone(Decimal("2.10"), 77),
    Rejected("PriceMoved", "too low"),
    Lost("Timeout", "no answer"),
    ExitNotDone(),
)
ARROWS = {
    "intended": {"denied", "sent"},
    "sent": {"denied", "done", "rejected", "unknown", "not_done"},
    "unknown": {"done", "rejected", "not_done"},
    "done": {"done", "rejected"},
    "not_done": {"done", "rejected"},
}
"""The picture in the module's docstring, written another way."""


def test_only_the_drawn_arrows_exist_and_every_one_is_taken() -> None:
    taken: set[tuple[str, str]] = set()
    for state in ExitState:
        for event in EVENTS:
            try:
                taken.add((state, advance_exit(replace(EXIT, state=state), event, 5).state))
            except ExitTransitionError:
                continue
    assert taken == {(state, target) for state, targets in ARROWS.items() for target in targets}


@given(st.lists(st.sampled_from(EVENTS), max_size=8))
def test_an_exit_leaves_once_at_most(events: Sequence[ExitEvent]) -> None:
    one, sent = EXIT, 0
    for event in events:
        before = one
        try:
            one = advance_exit(one, event, 5)
        except ExitTransitionError:
            assert one is before
            continue
        sent += isinstance(event, Sent)
    assert sent <= 1
    assert (one.sent_time_ns > 0) == (sent == 1)


def test_deriv_s_answer_corrects_what_was_concluded_without_it() -> None:
    sent = advance_exit(EXIT, Sent(), 2)
    concluded = advance_exit(advance_exit(sent, Lost("Timeout", ""), 3), ExitNotDone(), 9)
    done = advance_exit(concluded, ExitDone(Decimal("2.10"), 77), 10)
    assert (done.state, done.amount, done.transaction_id, done.error_code) == (ExitState.DONE, Decimal("2.10"), 77, "")
    refused = advance_exit(concluded, Rejected("ContractAlreadySold", "so it is"), 10)
    assert (refused.state, refused.error_code) == (ExitState.REJECTED, "ContractAlreadySold")


@pytest.mark.parametrize("state", list(ExitState))
@pytest.mark.parametrize("kind", list(ExitKind))
@pytest.mark.parametrize("ending", list(Ending))
def test_the_end_of_the_contract_leaves_no_exit_open(state: ExitState, kind: ExitKind, ending: Ending) -> None:
    one = replace(EXIT, state=state, terms=ExitTerms(kind))
    ended = after_the_end(one, ending, Decimal("2.10"), 77, 9)
    assert ended.state in DECIDED
    if state in DECIDED:
        assert ended is one
    elif state is ExitState.INTENDED:
        assert (ended.state, ended.error_code) == (ExitState.DENIED, "ORDER_NOT_OPEN")
    elif (kind, ending) in {(ExitKind.SELL, Ending.SOLD), (ExitKind.CANCEL, Ending.CANCELLED)}:
        assert (ended.state, ended.amount, ended.transaction_id) == (ExitState.DONE, Decimal("2.10"), 77)
    else:
        assert ended.state is ExitState.NOT_DONE


def test_an_open_exit_keeps_others_of_its_sort_away() -> None:
    exits = (replace(EXIT, state=ExitState.UNKNOWN),)
    assert in_the_way(exits, ExitKind.SELL) is exits[0]
    assert in_the_way(exits, ExitKind.CANCEL) is exits[0]
    assert in_the_way(exits, ExitKind.UPDATE) is None
    for state in DECIDED:
        assert in_the_way((replace(EXIT, state=state),), ExitKind.SELL) is None


@given(st.lists(st.sampled_from(list(ExitState)), max_size=40))
def test_what_is_not_decided_is_never_forgotten(states: Sequence[ExitState]) -> None:
    exits: tuple[Exit, ...] = ()
    undecided: list[str] = []
    for number, state in enumerate(states):
        one = replace(EXIT, exit_id=f"e{number}", state=state)
        exits = added(exits, one)
        if state not in DECIDED:
            undecided.append(one.exit_id)
        assert exits[-1] == one or one not in exits
        assert len(exits) <= max(EXITS_KEPT, len(undecided))
        assert [kept.exit_id for kept in exits if kept.state not in DECIDED] == undecided


def test_an_id_of_ours_is_one_that_the_order_does_not_know() -> None:
    exits: tuple[Exit, ...] = (replace(EXIT, exit_id="mine"), replace(EXIT, exit_id="x-7"))
    assert fresh_id((), ExitKind.SELL) == "sell-1"
    assert fresh_id(exits, ExitKind.UPDATE) == "update-8"
    for _ in range(40):
        name = fresh_id(exits, ExitKind.SELL)
        assert name not in {one.exit_id for one in exits}
        exits = added(exits, replace(EXIT, exit_id=name, state=ExitState.REJECTED))


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        (ExitTerms(ExitKind.SELL, Decimal("1.5")), None),
        (ExitTerms(ExitKind.SELL), "min_price"),
        (ExitTerms(ExitKind.CANCEL, Decimal("1.5")), "kind"),
        (replace(SALE, limits=(("take_profit", None),)), "limits"),
    ],
)
def test_another_exit_under_the_same_id_is_named(terms: ExitTerms, field: str | None) -> None:
    assert differing_exit_field(EXIT, terms) == field


def test_the_contract_is_looked_at_soon_and_believed_late() -> None:
    doubtful = replace(EXIT, state=ExitState.UNKNOWN, lost_time_ns=100 * S)
    assert [look_ns(doubtful, looks) // S - 100 for looks in range(7)] == [0, 1, 5, 10, 30, 60, 90]
    assert not is_late_enough(doubtful, 100 * S + 4_999_999_999)
    assert is_late_enough(doubtful, 105 * S)

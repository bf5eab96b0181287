from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from derivfleet.gateway.core.orders.exit import (
    DECIDED,
    Ending,
    ExitDone,
    ExitEvent,
    ExitKind,
    ExitState,
    ExitTerms,
    ExitTransitionError,
    exit_of,
)
from derivfleet.gateway.core.orders.operations import Denied, Lost, Rejected, Sent
from derivfleet.gateway.core.orders.order import (
    FINAL,
    Attribution,
    Candidate,
    Doubt,
    Order,
    OrderTerms,
    State,
    differing_field,
)
from derivfleet.gateway.core.orders.transitions import (
    Confirmed,
    Disproved,
    Doubted,
    Event,
    ExitAsked,
    ExitMoved,
    NotFound,
    Settled,
    TransitionError,
    advance,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

TERMS = OrderTerms("DIGITOVER", "1HZ100V", Decimal("0.35"), 1, "t", "4")
ORDER = Order("demo", "o1", "bot", TERMS, State.INTENDED, 1, traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
RECEIPT = Confirmed(301234567888, 601234567868, Decimal("0.35"), Decimal("0.68"), 1_795_161_602)
EVENTS: tuple[Event, ...] = (
    Denied("LIMIT_REACHED", "too late"),
    Sent(),
    RECEIPT,
    Rejected("InsufficientBalance", "no money"),
    Lost("Timeout", "no answer"),
    NotFound(),
    Doubted(Doubt.MORE_CANDIDATES, (Candidate(8, 1, Decimal("0.35"), Decimal("0.68")),)),
    Settled(Decimal("0.68"), 1_795_161_604),
    ExitAsked("sell-1", ExitTerms(ExitKind.SELL)),
    ExitMoved("sell-1", Sent()),
    Disproved((Candidate(9, 1, Decimal("0.35"), Decimal("0.68")),)),
)
ARROWS = {
    "intended": {"denied", "sent"},
    "sent": {"confirmed", "rejected", "unknown", "denied"},
    "unknown": {"confirmed", "rejected", "not_found", "unknown"},
    "not_found": {"confirmed", "not_found"},
    "confirmed": {"settled", "confirmed", "unknown"},
    "settled": {"settled"},
}
"""The picture in the module's docstring, written another way."""


def after(*events: Event) -> Order:
    order = ORDER
    for time_ns, event in enumerate(events, start=2):
        order = advance(order, event, time_ns)
    return order


def test_a_won_order_knows_its_profit() -> None:
    order = after(Sent(), RECEIPT, Settled(Decimal("0.68"), 1_795_161_604))
    assert order.state is State.SETTLED
    assert order.profit == Decimal("0.33")
    assert (order.sent_time_ns, order.answered_time_ns, order.settled_time_ns) == (2, 3, 4)
    assert not order.reconciled


def test_a_lost_answer_is_unknown_and_can_be_found() -> None:
    lost = after(Sent(), Lost("Timeout", "no answer"))
    assert lost.state is State.UNKNOWN
    assert lost.profit is None
    found = advance(lost, RECEIPT, 9)
    assert found.state is State.CONFIRMED
    assert found.reconciled
    assert found.error_code == ""


def test_a_receipt_that_no_record_bears_out_leaves_nothing_of_it_behind() -> None:
    order = after(Sent(), RECEIPT, EVENTS[-1])
    assert (order.state, order.doubt) == (State.UNKNOWN, Doubt.NO_CONTRACT)
    assert [one.contract_id for one in order.candidates] == [9]
    assert str(RECEIPT.contract_id) in order.error_message
    assert order.lost_time_ns == 3
    lost = replace(after(Sent(), Lost("Timeout", "no answer")), doubt=order.doubt, candidates=order.candidates)
    assert replace(order, error_code="Timeout", error_message="no answer") == lost


@pytest.mark.parametrize(
    ("attribution", "by", "words"),
    [
        (Attribution.RECEIPT, "", "Deriv's receipt named contract"),
        (Attribution.RECORD, "", "a record of the account named contract"),
        (Attribution.INFERRED, "", "a record of the account named contract"),
        (Attribution.OPERATOR, "ann", "ann named contract"),
    ],
)
def test_what_turns_out_to_be_no_contract_is_told_as_the_word_of_who_named_it(
    attribution: Attribution, by: str, words: str
) -> None:
    named = replace(RECEIPT, attribution=attribution, by=by)
    order = after(Sent(), Lost("Timeout", "no answer"), named, Disproved())
    assert order.error_message == f"{words} {RECEIPT.contract_id}, which none of the account's records know"


def test_not_found_is_corrected_by_a_later_record() -> None:
    order = after(Sent(), Lost("Timeout", "no answer"), NotFound())
    assert order.state in FINAL
    assert advance(order, RECEIPT, 9).state is State.CONFIRMED


def test_an_order_carries_the_trace_of_its_decision() -> None:
    assert ORDER.trace_id == "a" * 32
    assert replace(ORDER, traceparent="").trace_id == ""


@given(st.lists(st.sampled_from(EVENTS), max_size=8))
def test_only_the_drawn_arrows_exist(events: Sequence[Event]) -> None:
    order = ORDER
    for event in events:
        before = order
        try:
            order = advance(order, event, 5)
        except TransitionError:
            continue
        assert order.state in ARROWS[before.state]


def test_every_drawn_arrow_is_taken_by_some_event() -> None:
    taken: set[tuple[str, str]] = set()
    for state in State:
        for event in EVENTS:
            try:
                taken.add((state, advance(replace(ORDER, state=state), event, 5).state))
            except TransitionError:
                continue
    assert taken == {(state, target) for state, targets in ARROWS.items() for target in targets}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"stake": Decimal("0.36")}, "stake"),
        ({"symbol": "R_100"}, "symbol"),
        ({"barrier": "5"}, "barrier"),
        ({"duration": 2}, "duration"),
        ({"duration_unit": "s"}, "duration_unit"),
        ({"contract_type": "DIGITUNDER"}, "contract_type"),
    ],
)
def test_another_body_under_the_same_id_is_named(change: dict[str, object], field: str) -> None:
    assert differing_field(ORDER, "bot", replace(TERMS, **change)) == field  # pyright: ignore[reportArgumentType] - fields by name


def test_the_same_body_under_the_same_id_is_the_same_order() -> None:
    assert differing_field(ORDER, "bot", replace(TERMS, stake=Decimal("0.350"))) is None
    assert differing_field(ORDER, "other", TERMS) == "bot"


def test_what_ties_an_order_to_its_contract_is_told() -> None:
    assert after(Sent(), RECEIPT).attribution is Attribution.RECEIPT
    record = replace(RECEIPT, attribution=Attribution.INFERRED)
    order = after(Sent(), Lost("Timeout", "no answer"), record)
    assert (order.attribution, order.found_late, order.lost_time_ns) == (Attribution.INFERRED, False, 3)
    late = after(Sent(), Lost("Timeout", "no answer"), NotFound(), record)
    assert late.found_late


def test_a_doubt_names_candidates_and_ends_with_whatever_decides() -> None:
    doubt = Doubted(Doubt.MORE_CANDIDATES, (Candidate(8, 1, Decimal("0.35"), Decimal("0.68")),))
    doubtful = after(Sent(), Lost("Timeout", "no answer"), doubt)
    assert (doubtful.state, doubtful.doubt, len(doubtful.candidates)) == (State.UNKNOWN, Doubt.MORE_CANDIDATES, 1)
    by_hand = replace(RECEIPT, attribution=Attribution.OPERATOR, by="ann")
    for event in (by_hand, Rejected("InsufficientBalance", ""), NotFound("ann")):
        decided = advance(doubtful, event, 9)
        assert (decided.doubt, decided.candidates, decided.answered_time_ns) == (Doubt.NONE, (), 9)
    assert advance(doubtful, by_hand, 9).resolved_by == "ann"
    assert advance(doubtful, NotFound("ann"), 9).resolved_by == "ann"


EXIT_EVENTS: tuple[ExitEvent, ...] = (
    Sent(),
    ExitDone(Decimal("0.50"), 77),
    Rejected("PriceMoved", ""),
    Lost("Timeout", ""),
)


@given(st.lists(st.sampled_from(EXIT_EVENTS), max_size=5), st.sampled_from(list(Ending)), st.integers(0, 5))
def test_a_settled_order_has_no_exit_in_doubt(events: Sequence[ExitEvent], ending: Ending, when: int) -> None:
    order = after(Sent(), RECEIPT, ExitAsked("sell-1", ExitTerms(ExitKind.SELL)))
    stories: list[Event] = [ExitMoved("sell-1", event) for event in events]
    stories.insert(when, Settled(Decimal("0.50"), 1_795_161_604, ending))
    for event in stories:
        try:
            order = advance(order, event, 9)
        except (TransitionError, ExitTransitionError):
            continue
        if order.state is State.SETTLED:
            (one,) = order.exits
            assert one.state in DECIDED
    assert order.state is State.SETTLED
    assert order.profit == Decimal("0.15")


def test_news_of_a_sale_that_overtake_its_receipt_lose_nothing() -> None:
    order = after(Sent(), RECEIPT, ExitAsked("s", ExitTerms(ExitKind.SELL)), ExitMoved("s", Sent()))
    order = advance(order, Settled(Decimal("0.50"), 5, Ending.EXPIRED), 9)
    one = exit_of(order.exits, "s")
    assert one is not None
    assert one.state is ExitState.NOT_DONE
    order = advance(order, ExitMoved("s", ExitDone(Decimal("0.50"), 77)), 10)
    one = exit_of(order.exits, "s")
    assert one is not None
    assert (order.ending, one.state, one.transaction_id) == (Ending.SOLD, ExitState.DONE, 77)
    assert exit_of(order.exits, "t") is None


def test_an_order_with_all_that_it_knows_survives_the_journal_and_old_ones_can_be_read() -> None:
    journal = TypeAdapter(Order)
    change = ExitTerms(ExitKind.UPDATE, limits=(("take_profit", Decimal("2.50")), ("stop_loss", None)))
    doubtful = after(Sent(), Lost("Timeout", ""), EVENTS[6])
    sold = after(
        Sent(),
        RECEIPT,
        ExitAsked("u", change),
        ExitMoved("u", Sent()),
        Settled(Decimal("0.50"), 5, Ending.SOLD, 77),
    )
    for order in (ORDER, doubtful, sold):
        assert journal.validate_json(journal.dump_json(order)) == order
    known = (
        "account",
        "order_id",
        "bot",
        "terms",
        "state",
        "intended_time_ns",
        "contract_id",
        "buy_price",
        "reconciled",
    )
    body = journal.dump_python(sold, mode="json")
    old = journal.validate_python({name: body[name] for name in known})
    assert (old.state, old.exits, old.attribution, old.doubt) == (State.SETTLED, (), Attribution.NONE, Doubt.NONE)

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from itertools import combinations, pairwise, permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.deriv.terms import Shortcode
from derivfleet.gateway.core.orders.exit import Ending
from derivfleet.gateway.core.orders.order import Attribution, Doubt, Order, OrderTerms, State
from derivfleet.gateway.core.orders.transitions import Confirmed, Doubted, NotFound, advance
from derivfleet.gateway.core.reconcile.lost_orders import (
    PLAN,
    LostOrder,
    Purchase,
    Read,
    Verdict,
    candidate_of,
    differing_term,
    due,
    ending_of,
    fits,
    is_proven_absent,
    is_unreadable,
    is_watched,
    judge,
    looks_like,
    span_s,
    steps_served,
)

S = 10**9
T0 = 1_795_161_600
TERMS = OrderTerms("DIGITOVER", "1HZ100V", Decimal("0.35"), 1, "t", "4")
NOW_NS = (T0 + 20) * S


def lost(
    name: str,
    sent_s: float = T0,
    lost_s: float = T0 + 3,
    terms: OrderTerms = TERMS,
    *,
    final: bool = False,
    **more: Any,
) -> LostOrder:
    """An order without an answer; ``final``: the records have had their time."""
    order = Order("demo", name, "bot", terms, State.UNKNOWN, round(sent_s * S), sent_time_ns=round(sent_s * S))
    order = replace(order, lost_time_ns=round(lost_s * S), **more)
    return LostOrder(order, 2, order.lost_time_ns + 30 * S) if final else LostOrder(order)


def bought(contract_id: int, epoch_s: int = T0 + 1, **change: Any) -> Purchase:
    shown = Shortcode("DIGITOVER", "1HZ100V", Decimal("0.68"), epoch_s, 1, None, "4")
    of_shortcode = {name: change.pop(name) for name in [*change] if name in Shortcode.__dataclass_fields__}
    purchase = Purchase(
        contract_id, contract_id + 1, Decimal("0.35"), Decimal("0.68"), epoch_s, replace(shown, **of_shortcode)
    )
    return replace(purchase, **change)


def told(verdicts: list[tuple[Order, Verdict]]) -> dict[str, object]:
    """Order id → contract id, doubt, or None for not found."""
    said: dict[str, object] = {}
    for order, verdict in verdicts:
        match verdict:
            case Confirmed(contract_id=contract_id):
                said[order.order_id] = contract_id
            case Doubted(doubt):
                said[order.order_id] = doubt
            case NotFound():
                said[order.order_id] = None
    return said


def verdict_of(entry: LostOrder, *purchases: Purchase) -> Verdict:
    ((_, verdict),) = judge([entry], [], purchases, NOW_NS)
    return verdict


def test_the_one_purchase_that_it_can_be_is_the_lost_order() -> None:
    expected = Confirmed(8, 9, Decimal("0.35"), Decimal("0.68"), T0 + 1, Attribution.RECORD)
    assert verdict_of(lost("a"), bought(8)) == expected


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"price": Decimal("0.36")}, "stake"),
        ({"symbol": "R_100"}, "symbol"),
        ({"contract_type": "DIGITUNDER"}, "contract_type"),
        ({"barrier": "5"}, "barrier"),
        ({"duration_ticks": 2}, "duration"),
        ({"epoch_s": T0 - 3}, None),
        ({"epoch_s": T0 + 6}, None),
    ],
)
def test_anything_else_is_not(change: dict[str, Any], field: str | None) -> None:
    assert judge([lost("a")], [], [bought(8, **change)], NOW_NS) == []
    assert differing_term(lost("a").order, bought(8, **change)) == field


def test_a_timed_contract_is_recognised_by_its_length() -> None:
    terms = OrderTerms("CALL", "R_100", Decimal(1), 5, "m")
    row: dict[str, Any] = {
        "contract_type": "CALL",
        "symbol": "R_100",
        "price": Decimal(1),
        "barrier": "S0P",
        "duration_ticks": None,
    }
    right, wrong = bought(8, **row, expiry_s=T0 + 1 + 300), bought(18, **row, expiry_s=T0 + 1 + 301)
    assert told(judge([lost("a", terms=terms)], [], [wrong, right], NOW_NS)) == {"a": 8}


def test_a_purchase_that_may_belong_to_an_order_in_flight_waits_for_its_answer() -> None:
    flying = replace(lost("b").order, state=State.SENT)
    assert judge([lost("a", final=True)], [flying], [bought(8)], NOW_NS) == []
    later = replace(flying, sent_time_ns=(T0 + 10) * S)
    assert told(judge([lost("a")], [later], [bought(8)], NOW_NS)) == {"a": 8}


def test_as_many_like_purchases_as_like_orders_are_given_out_in_the_order_of_time() -> None:
    orders = [lost("second", T0 + 1), lost("first", T0)]
    verdicts = judge(orders, [], [bought(18, T0 + 2), bought(8, T0 + 1)], NOW_NS)
    assert told(verdicts) == {"first": 8, "second": 18}
    for _, verdict in verdicts:
        assert isinstance(verdict, Confirmed)
        assert verdict.attribution is Attribution.INFERRED


def test_unlike_orders_do_not_wait_for_each_other() -> None:
    other = replace(TERMS, barrier="7")
    verdicts = judge([lost("a"), lost("b", terms=other), lost("c", terms=other)], [], [bought(8)], NOW_NS)
    assert told(verdicts) == {"a": 8}


def test_fewer_purchases_than_orders_go_to_who_was_sent_nearest_once_the_records_have_had_their_time() -> None:
    early = [lost("a", T0 - 9), lost("b")]
    assert judge(early, [], [bought(8)], NOW_NS) == []
    half = [lost("a", T0 - 9, final=True), lost("b")]
    assert judge(half, [], [bought(8)], NOW_NS) == []
    late = [lost("a", T0 - 9, final=True), lost("b", final=True)]
    verdicts = judge(late, [], [bought(8)], NOW_NS)
    assert told(verdicts) == {"a": None, "b": 8}
    # Its own purchase may show later: nobody else's time reaches back so far.
    known = replace(late[0], order=replace(late[0].order, state=State.NOT_FOUND))
    assert told(judge([known], [], [bought(18, T0 - 8)], NOW_NS)) == {"a": 18}
    assert told(judge(late, [], [bought(8), bought(18, T0 - 8)], NOW_NS)) == {"a": 18, "b": 8}
    assert all(one.attribution is Attribution.INFERRED for _, one in verdicts if isinstance(one, Confirmed))


def test_how_far_deriv_s_clock_is_ahead_tells_which_sending_was_nearest() -> None:
    entries = [lost("a", final=True), lost("b", T0 + 2, final=True)]
    assert told(judge(entries, [], [bought(8, T0)], NOW_NS)) == {"a": 8, "b": None}
    assert told(judge(entries, [], [bought(8, T0 + 2)], NOW_NS)) == {"a": None, "b": 8}
    assert told(judge(entries, [], [bought(8, T0 + 2)], NOW_NS, ahead_ns=lambda _: 2 * S)) == {"a": 8, "b": None}


@given(st.integers(-20 * S, 20 * S), st.integers(0, S - 1), st.integers(0, 3 * S))
def test_a_purchase_between_sending_and_loss_fits_however_far_the_clocks_are_apart(
    ahead_ns: int, into_ns: int, later_ns: int
) -> None:
    order = replace(lost("a", T0).order, sent_time_ns=T0 * S + into_ns, lost_time_ns=T0 * S + into_ns + 3 * S)
    purchase = bought(8, (order.sent_time_ns + later_ns + ahead_ns) // S)
    for wrong_ns in (-S // 2, 0, S // 2):  # the estimate
        known = replace(order, ahead_ns=ahead_ns + wrong_ns)
        assert fits(known, purchase, NOW_NS)
        first_s, last_s = span_s(known, NOW_NS)
        assert first_s <= purchase.epoch_s <= last_s


def test_what_an_operator_was_shown_and_did_not_choose_is_not_matched_again() -> None:
    doubtful = advance(lost("a").order, Doubted(Doubt.MORE_CANDIDATES, (candidate_of(bought(8)),)), NOW_NS)
    decided = LostOrder(advance(doubtful, NotFound("somebody"), NOW_NS))
    assert judge([decided], [], [bought(8)], NOW_NS) == []
    assert told(judge([decided], [], [bought(8), bought(18)], NOW_NS)) == {"a": 18}
    by_records = LostOrder(advance(doubtful, NotFound(), NOW_NS))
    assert told(judge([by_records], [], [bought(8)], NOW_NS)) == {"a": 8}


def test_who_was_taken_for_not_bought_gets_a_purchase_after_those_who_are_looked_for() -> None:
    entry = lost("a", final=True)
    known = replace(entry, order=replace(entry.order, state=State.NOT_FOUND))
    assert told(judge([known, lost("b", final=True)], [], [bought(8)], NOW_NS)) == {"b": 8}


def test_more_purchases_than_orders_is_doubtful_at_once() -> None:
    verdict = verdict_of(lost("a"), bought(18), bought(8))
    assert isinstance(verdict, Doubted)
    assert verdict.doubt is Doubt.MORE_CANDIDATES
    assert [one.contract_id for one in verdict.candidates] == [8, 18]


def test_what_somebody_else_buys_too_is_not_matched_blindly() -> None:
    verdicts = judge([lost("a")], [], [bought(8)], NOW_NS, is_foreign_like=lambda order: order.order_id == "a")
    assert told(verdicts) == {"a": Doubt.FOREIGN_TRADES}


def test_no_purchase_is_believed_only_late_and_twice() -> None:
    entry = lost("a", lost_s=T0)
    assert not is_proven_absent(replace(entry, clean_reads=2, read_ns=(T0 + 29) * S))
    assert not is_proven_absent(replace(entry, clean_reads=1, read_ns=(T0 + 31) * S))
    assert is_proven_absent(replace(entry, clean_reads=2, read_ns=(T0 + 30) * S))
    assert not is_proven_absent(replace(entry, clean_reads=2, read_ns=(T0 + 30) * S), absent_after_s=120)
    assert told(judge([entry], [], [], NOW_NS)) == {}
    assert told(judge([lost("a", final=True)], [], [], NOW_NS)) == {"a": None}


@pytest.mark.parametrize("doubt", [one for one in Doubt if one])
def test_a_doubt_ends_with_its_reason(doubt: Doubt) -> None:
    doubtful = lost("a", doubt=doubt)
    assert judge([doubtful], [], [], NOW_NS) == []  # a gateway that has just started has read nothing yet
    assert verdict_of(replace(doubtful, clean_reads=1)) == Doubted(Doubt.NONE)
    assert told(judge([doubtful], [], [bought(8)], NOW_NS)) == {"a": 8}


def test_what_was_not_found_is_not_said_again_but_a_late_record_counts() -> None:
    absent = lost("a", final=True, state=State.NOT_FOUND)
    assert judge([absent], [], [], NOW_NS) == []
    assert told(judge([absent], [], [bought(8)], NOW_NS)) == {"a": 8}


def test_a_frame_may_be_on_its_way_longer_where_time_runs_faster() -> None:
    late = bought(8, T0 + 30)
    assert judge([lost("a")], [], [late], NOW_NS) == []
    assert told(judge([lost("a")], [], [late], NOW_NS, slack_s=60)) == {"a": 8}
    # Nothing is bought before it was sent, however fast.
    assert judge([lost("a")], [], [bought(8, T0 - 3)], NOW_NS, slack_s=60) == []


def test_a_movement_tells_less_than_a_row() -> None:
    order = lost("a").order
    assert looks_like(order, "1HZ100V", Decimal("0.35"), T0, NOW_NS)
    assert looks_like(order, None, Decimal("0.35"), T0, NOW_NS)
    assert not looks_like(order, "R_50", Decimal("0.35"), T0, NOW_NS)
    assert not looks_like(order, "1HZ100V", Decimal("0.36"), T0, NOW_NS)
    assert not looks_like(order, "1HZ100V", Decimal("0.35"), T0 + 9, NOW_NS)
    # Its receipt may come until now.
    assert looks_like(replace(order, state=State.SENT), "1HZ100V", Decimal("0.35"), T0 + 9, NOW_NS)


OFFSETS = st.integers(0, 12)
ORDERS = st.lists(st.tuples(OFFSETS, st.integers(0, 4), st.booleans(), st.sampled_from("45")), max_size=5)
PURCHASES = st.lists(st.tuples(OFFSETS, st.sampled_from("45")), max_size=5)


def pieces(orders: list[LostOrder], rows: list[Purchase]) -> list[tuple[list[int], list[int]]]:
    """Connected orders and purchases by repeated widening: an oracle for the groups."""
    edges = {(i, j) for i, one in enumerate(orders) for j, row in enumerate(rows) if fits(one.order, row, NOW_NS)}
    found: list[tuple[list[int], list[int]]] = []
    seen: set[int] = set()
    for start in range(len(orders)):
        if start in seen:
            continue
        left, right = {start}, set[int]()
        for _ in range(len(orders) + len(rows)):
            right |= {j for i, j in edges if i in left}
            left |= {i for i, j in edges if j in right}
        seen |= left
        found.append((sorted(left), sorted(right)))
    return found


def has_perfect_matching(orders: list[LostOrder], rows: list[Purchase]) -> bool:
    return any(
        all(fits(one.order, row, NOW_NS) for one, row in zip(orders, tried, strict=True))
        for tried in permutations(rows)
    )


@given(ORDERS, PURCHASES)
@settings(deadline=None)
def test_each_group_is_judged_as_an_exhaustive_search_would(
    sent: list[tuple[int, int, bool, str]], rows: list[tuple[int, str]]
) -> None:
    orders = [
        lost(f"o{index}", T0 + at, T0 + at + length, replace(TERMS, barrier=digit), final=final)
        for index, (at, length, final, digit) in enumerate(sent)
    ]
    purchases = [bought(10 * index + 8, T0 + at, barrier=digit) for index, (at, digit) in enumerate(rows)]
    verdicts = judge(orders, [], purchases, NOW_NS)
    said = told(verdicts)
    assert len(said) == len(verdicts)
    for left, right in pieces(orders, purchases):
        names = [orders[i].order.order_id for i in left]
        ours, theirs = [orders[i] for i in left], [purchases[j] for j in right]
        answers = [said.get(name, "nothing") for name in names]
        if not theirs:
            assert answers == [None if ours[0].clean_reads else "nothing"]
        elif len(theirs) == len(ours) and has_perfect_matching(ours, theirs):
            assert Counter(answers) == Counter(row.contract_id for row in theirs)
            by_id = {row.contract_id: row for row in theirs}
            for one, (order, verdict) in ((one, pair) for one in ours for pair in verdicts if pair[0] is one.order):
                assert isinstance(verdict, Confirmed)
                assert fits(order, by_id[verdict.contract_id], NOW_NS)
                assert verdict.attribution is (Attribution.RECORD if len(ours) == 1 else Attribution.INFERRED)
                assert one.order is order
        elif len(theirs) < len(ours):
            ready = all(one.clean_reads for one in ours)
            if any(has_perfect_matching(list(some), theirs) for some in combinations(ours, len(theirs))):
                others = [None] * (len(ours) - len(theirs))
                given = Counter[object]([*(row.contract_id for row in theirs), *others])
                assert Counter(answers) == (given if ready else Counter(["nothing"] * len(ours)))
            else:
                assert set(answers) == {Doubt.MORE_CANDIDATES}
        else:
            assert set(answers) == {Doubt.MORE_CANDIDATES}


@given(ORDERS, PURCHASES, st.lists(OFFSETS, max_size=2))
@settings(deadline=None)
def test_no_purchase_serves_two_orders_and_none_that_may_get_a_receipt_is_touched(
    sent: list[tuple[int, int, bool, str]], rows: list[tuple[int, str]], flying: list[int]
) -> None:
    orders = [
        lost(f"o{index}", T0 + at, T0 + at + length, replace(TERMS, barrier=digit), final=final)
        for index, (at, length, final, digit) in enumerate(sent)
    ]
    in_flight = [replace(lost(f"f{index}", T0 + at).order, state=State.SENT) for index, at in enumerate(flying)]
    purchases = [bought(10 * index + 8, T0 + at, barrier=digit) for index, (at, digit) in enumerate(rows)]
    taken = [one.contract_id for _, one in judge(orders, in_flight, purchases, NOW_NS) if isinstance(one, Confirmed)]
    assert len(set(taken)) == len(taken)
    free = {row.contract_id for row in purchases if not any(fits(one, row, NOW_NS) for one in in_flight)}
    assert set(taken) <= free


@given(ORDERS, PURCHASES)
@settings(deadline=None)
def test_the_order_in_which_orders_and_rows_are_listed_does_not_matter(
    sent: list[tuple[int, int, bool, str]], rows: list[tuple[int, str]]
) -> None:
    orders = [lost(f"o{index}", T0 + at, T0 + at + length) for index, (at, length, _, _) in enumerate(sent)]
    purchases = [bought(10 * index + 8, T0 + at) for index, (at, _) in enumerate(rows)]
    expected = told(judge(orders, [], purchases, NOW_NS))
    for turned in (orders[::-1], orders[1:] + orders[:1]):
        assert told(judge(turned, [], purchases[::-1], NOW_NS)) == expected


# When what is read


def test_the_plan_reads_the_portfolio_first_and_then_the_statement_for_ten_minutes() -> None:
    times = [after_s for after_s, _ in PLAN]
    assert times[:5] == [1, 2, 5, 10, 30]
    assert [read for _, read in PLAN] == [Read.PORTFOLIO, *[Read.STATEMENT] * (len(PLAN) - 1)]
    assert max(b - a for a, b in pairwise(times)) <= 60
    assert times[-1] >= 630
    assert is_watched(lost("a").order, round((T0 + 3 + 629) * S))
    assert not is_watched(lost("a").order, round((T0 + 3 + 630) * S))
    assert is_watched(lost("a", doubt=Doubt.MORE_CANDIDATES).order, round((T0 + 9999) * S))


def test_one_statement_serves_all_steps_that_are_due() -> None:
    order = lost("a", lost_s=T0).order
    assert due(order, 0, T0 * S) is None
    assert due(order, 0, (T0 + 1) * S) is Read.PORTFOLIO
    assert steps_served(order, 0, Read.PORTFOLIO, (T0 + 7) * S) == 1
    assert steps_served(order, 0, Read.STATEMENT, (T0 + 7) * S) == 3
    assert due(order, 3, (T0 + 9) * S) is None
    assert due(order, 3, (T0 + 10) * S) is Read.STATEMENT


def test_a_doubtful_order_is_looked_for_without_end() -> None:
    order, step, reads = lost("a", lost_s=T0).order, 0, list[int]()
    for second in range(24 * 3600):
        now_ns = (T0 + second) * S
        if (read := due(order, step, now_ns)) is not None:
            step = steps_served(order, step, read, now_ns)
            reads.append(second)
    assert reads[: len(PLAN)] == [after_s for after_s, _ in PLAN]
    later = reads[len(PLAN) :]
    assert len(later) > 100
    assert {b - a for a, b in combinations(later, 2) if b - a < 1000} == {600}


def test_records_that_nobody_reads_for_a_minute_are_a_reason_to_doubt() -> None:
    entry = lost("a", lost_s=T0)
    assert not is_unreadable(entry, 0, (T0 + 59) * S)
    assert is_unreadable(entry, 0, (T0 + 60) * S)
    assert not is_unreadable(entry, (T0 + 50) * S, (T0 + 109) * S)  # the gateway was not there to read
    assert not is_unreadable(replace(entry, clean_reads=1), 0, (T0 + 600) * S)
    assert not is_unreadable(lost("a", lost_s=T0, state=State.NOT_FOUND), 0, (T0 + 600) * S)


# How contracts end

TIMED = replace(
    lost("a", terms=OrderTerms("CALL", "R_100", Decimal(10), 1, "m")).order,
    purchase_epoch_s=T0,
    buy_price=Decimal(10),
    payout=Decimal("19.53"),
)


@pytest.mark.parametrize(
    ("price", "epoch_s", "ending"),
    [
        ("19.53", T0 + 60, Ending.EXPIRED),
        ("0", T0 + 60, Ending.EXPIRED),
        ("19.53", T0 + 58, Ending.EXPIRED),
        ("9.52", T0 + 20, Ending.SOLD),
        ("9.52", T0 + 59, Ending.SOLD),
        ("0", T0 + 20, Ending.SOLD),
        ("19.53", 0, Ending.EXPIRED),
    ],
)
def test_a_sale_before_the_end_or_for_a_part_is_one_by_hand(price: str, epoch_s: int, ending: Ending) -> None:
    assert ending_of(TIMED, Decimal(price), epoch_s) is ending
    assert ending_of(replace(TIMED, terms=TERMS), Decimal(price), epoch_s) is Ending.EXPIRED

"""Members, caps and the fair queue, one at a time."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.quota.permits import Permit, Rank
from derivfleet.gateway.core.quota.shares import GUARANTEED_PART, Cap, FairQueue, Flow, Member
from derivfleet.gateway.core.quota.windows import Tier

S = 10**9
FOREVER = 10**6 * S
WINDOW_NS = 60 * S


def member(bot: str = "a", weight: float = 1.0, share: float = 10.0, sustained: float = 6.0, **caps: int) -> Member:
    one = Member(bot, weight, WINDOW_NS, {Call(kind): Cap(most) for kind, most in caps.items()})
    one.give_share(share, sustained)
    return one


def permit(bot: str = "a", call: Call = Call.BUY, rank: Rank = Rank.BUY, at_ns: int = 0) -> Permit:
    return Permit(bot, call, rank, "trade", at_ns, None)


def own_calls(one: Member, now_ns: int) -> int:
    calls = 0
    while one.own_from_ns() <= now_ns:
        one.spend(Tier.OWN, now_ns)
        calls += 1
    return calls


def test_a_share_may_be_spent_at_once_and_comes_back_at_the_guaranteed_rate() -> None:
    one = member(share=10, sustained=6)
    assert own_calls(one, FOREVER) == 10
    assert own_calls(one, FOREVER + 3600 * S) == 10
    calls = sum(own_calls(one, FOREVER + 3600 * S + second * S) for second in range(1, 36_001))
    assert abs(calls - 600 * 6 * GUARANTEED_PART) <= 2


def test_the_smallest_share_is_one_call_at_once_and_no_more_than_its_part_in_the_long_run() -> None:
    one = member(share=0.1, sustained=0.05)
    assert own_calls(one, FOREVER) == 1
    assert sum(own_calls(one, FOREVER + hour * 3600 * S) for hour in range(1, 101)) <= 100


def test_what_was_borrowed_is_held_against_a_bot_for_a_window_and_no_longer() -> None:
    one = member(share=10, sustained=6)
    for _ in range(10_000):
        one.spend(Tier.LOAN, FOREVER)
    assert one.own_from_ns() > FOREVER
    assert one.own_from_ns() - FOREVER <= WINDOW_NS + one.spacing_ns


def test_exits_are_not_taken_from_the_share_and_calls_not_sent_go_back_to_it() -> None:
    one = member(share=2, sustained=2)
    for _ in range(10):
        one.spend(Tier.EXIT, FOREVER)
    one.spend(Tier.OWN, FOREVER)
    one.unspend(Tier.OWN)
    assert own_calls(one, FOREVER) == 2


def test_a_cap_tells_when_so_many_calls_more_may_start() -> None:
    cap = Cap(2)
    length_ns = cap.log.lengths_ns[0]
    for second in (0, 10):
        cap.log.start()
        cap.log.land(second * S)
    assert [cap.allows_ns(calls, 20 * S) - length_ns for calls in (1, 2)] == [0, 10 * S]
    assert [cap.allows_ns(calls, 20 * S) - 2 * length_ns for calls in (3, 4)] == [0, 10 * S]


def test_a_cap_that_depends_on_a_lost_call_tells_when_more_is_known() -> None:
    cap = Cap(1)
    cap.log.start()
    cap.log.lose(5 * S)
    assert cap.allows_ns(1, 0) == 5 * S


def test_rank_decides_within_a_bot_and_then_age() -> None:
    flow = Flow(member(), 0)
    asked = [
        permit(call=Call.TICKS_HISTORY, rank=Rank.HISTORY),
        permit(call=Call.SELL),
        permit(call=Call.BUY),
        permit(call=Call.PROPOSAL, rank=Rank.QUOTE),
    ]
    for one in asked:
        flow.add(one)
    order: list[Permit] = []
    while (following := flow.next(0)) is not None:
        flow.remove(following)
        order.append(following)
    assert order == [asked[1], asked[2], asked[3], asked[0]]


def test_a_call_at_its_cap_lets_the_bots_others_pass() -> None:
    flow = Flow(member(buy=1), 0)
    flow.member.caps[Call.BUY].log.start()
    flow.add(permit())
    assert flow.next(0) is None
    other = permit(call=Call.PROPOSAL, rank=Rank.QUOTE)
    flow.add(other)
    assert flow.next(0) is other
    assert (flow.ahead(Rank.QUOTE), flow.ahead(Rank.QUOTE, Call.BUY), flow.ahead(Rank.EXIT)) == (2, 1, 0)


def test_a_bots_own_call_goes_before_loans_whenever_it_comes() -> None:
    queue = FairQueue()
    borrower, lender = member("a"), member("b")
    for _ in range(100):
        borrower.spend(Tier.LOAN, FOREVER)
    queue.add(permit("a"), queue.flow(borrower), FOREVER)
    assert queue.own(FOREVER) is None
    assert queue.loan() is queue.flow(borrower)
    queue.add(permit("b"), queue.flow(lender), FOREVER)
    assert queue.own(FOREVER) is queue.flow(lender)
    assert queue.wakes_ns() == borrower.own_from_ns()
    queue.remove(next(iter(queue.flow(lender).queues[2, Call.BUY])), queue.flow(lender))
    assert queue.own(borrower.own_from_ns()) is queue.flow(borrower)


@settings(deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=6), st.integers(50, 300))
def test_who_always_waits_is_served_by_weight_to_within_one_call(weights: list[int], calls: int) -> None:
    queue, served = FairQueue(), Counter[str]()
    flows = [queue.flow(member(f"b{number}", float(weight), share=10**6)) for number, weight in enumerate(weights)]
    for flow in flows:
        for _ in range(2):
            queue.add(permit(flow.member.bot), flow, FOREVER)
    for _ in range(calls):
        flow = queue.own(FOREVER)
        assert flow is not None
        following = flow.next(FOREVER)
        assert following is not None
        queue.serve(following, flow)
        queue.again(flow, FOREVER)
        served[flow.member.bot] += 1
        queue.add(permit(flow.member.bot), flow, FOREVER)
    parts = [Fraction(served[flow.member.bot], weight) for flow, weight in zip(flows, weights, strict=True)]
    assert max(parts) - min(parts) <= 1 + Fraction(1, min(weights))


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_whoever_comes_back_is_at_most_one_round_behind(steps: list[tuple[str, bool]]) -> None:
    queue = FairQueue()
    members = {bot: member(bot, share=10**6) for bot in "abcx"}
    for bot, serves in steps:
        queue.add(permit(bot), queue.flow(members[bot]), FOREVER)
        flow = queue.own(FOREVER) if serves else None
        following = flow.next(FOREVER) if flow is not None else None
        if flow is not None and following is not None:
            queue.serve(following, flow)
            queue.again(flow, FOREVER)
    queue.add(permit("x"), queue.flow(members["x"]), FOREVER)
    assert queue.before(queue.flow(members["x"]), 0, own=True) == 0
    before = Counter[str]()
    while (flow := queue.own(FOREVER)) is not None and flow.member.bot != "x":
        following = flow.next(FOREVER)
        assert following is not None
        queue.serve(following, flow)
        queue.again(flow, FOREVER)
        before[flow.member.bot] += 1
    assert all(count <= 1 for count in before.values())

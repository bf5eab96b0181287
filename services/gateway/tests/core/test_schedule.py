from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.deriv.limits import OPTIONS_LIMITS
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.schedule import GATEWAY, Refusal, Schedule, Turn

S = 10**9


def schedule(*bots: str, headroom: float = 1.0) -> Schedule:
    return Schedule(OPTIONS_LIMITS, headroom, dict.fromkeys(bots, 1.0), margin_s=0)


def starts(plan: Schedule, bot: str, call: Call, count: int) -> list[int]:
    turns = [plan.reserve(bot, call, 0) for _ in range(count)]
    return [turn.start_ns for turn in turns if isinstance(turn, Turn)]


def test_a_flooding_bot_costs_the_others_nothing() -> None:
    plan = schedule("flood", "calm")
    assert max(starts(plan, "flood", Call.BUY, 1000)) > 60 * S
    assert starts(plan, "calm", Call.BUY, 100) == [0] * 100


def test_the_gateway_keeps_a_part_for_itself_when_all_bots_flood() -> None:
    plan = schedule("a", "b")
    starts(plan, "a", Call.BUY, 500)
    starts(plan, "b", Call.BUY, 500)
    assert starts(plan, GATEWAY, Call.PROPOSAL_OPEN_CONTRACT, 30) == [0] * 30


def test_shares_follow_the_weights() -> None:
    plan = Schedule(OPTIONS_LIMITS, 1.0, {"heavy": 3.0, "light": 1.0}, margin_s=0)
    assert starts(plan, "heavy", Call.BUY, 243).count(0) == 243
    assert starts(plan, "light", Call.BUY, 100).count(0) == 81


def test_a_call_that_would_miss_its_deadline_is_refused_at_once_and_not_counted() -> None:
    plan = schedule("a")
    starts(plan, "a", Call.STATEMENT, 90)
    refusal = plan.reserve("a", Call.STATEMENT, 0, deadline_ns=5 * S)
    assert refusal == Refusal("money", 60 * S, "money/60s")
    assert {use.used for use in plan.use(0) if use.bucket == "money"} == {90}


def test_a_turn_given_back_is_free_again() -> None:
    plan = schedule("a")
    turns = [plan.reserve("a", Call.STATEMENT, 0) for _ in range(90)]
    first = turns[0]
    assert isinstance(first, Turn)
    plan.give_back(first)
    again = plan.reserve("a", Call.STATEMENT, 0, deadline_ns=0)
    assert isinstance(again, Turn)


def test_the_forecast_says_what_the_next_call_meets() -> None:
    plan = schedule("a")
    assert plan.forecast("a", Call.STATEMENT, 0) == (90, 0, "")
    starts(plan, "a", Call.STATEMENT, 90)
    assert plan.forecast("a", Call.STATEMENT, S) == (0, 59 * S, "money/60s")


def test_a_refusal_by_deriv_stops_every_bot() -> None:
    plan = schedule("a", "b")
    plan.refused_by_deriv(Call.BUY, 0)
    assert starts(plan, "b", Call.BUY, 1) == [60 * S]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", GATEWAY]), st.sampled_from([Call.STATEMENT, Call.PORTFOLIO])),
        max_size=200,
    ),
    st.lists(st.integers(0, 30), max_size=200),
)
def test_the_account_is_never_asked_for_more_than_its_limit(asks: list[tuple[str, Call]], gaps: list[int]) -> None:
    plan = schedule("a", "b", "c")
    now = 0
    spent: dict[Call, list[int]] = {Call.STATEMENT: [], Call.PORTFOLIO: []}
    for (bot, call), gap in zip(asks, gaps, strict=False):
        now += gap * S
        turn = plan.reserve(bot, call, now, deadline_ns=now + 100 * S)
        if isinstance(turn, Turn):
            spent[call].append(turn.start_ns)
    for call, limit in ((Call.STATEMENT, 100), (Call.PORTFOLIO, 30)):
        for start in spent[call]:
            assert sum(1 for other in spent[call] if start <= other < start + 60 * S) <= limit

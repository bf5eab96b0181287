"""The quota's behaviour one scene at a time; what must hold in all of them together is in test_quota_laws."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from derivfleet.deriv.limits import OPTIONS_LIMITS, Bucket, LimitsTable, StreamCaps
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.quota.call_log import CallLog
from derivfleet.gateway.core.quota.quota import GATEWAY, Permit, PermitDenied, PermitState, Quota, Rank

if TYPE_CHECKING:
    from collections.abc import Mapping

S = 10**9
MS = 10**6
NOW = 1_795_161_600 * S
MINUTE = 60 * S + 13_000_000
"""A minute with its margin for clocks that do not run alike, rounded up."""


def table(windows: Mapping[int, int]) -> LimitsTable:
    buckets = {"trade": Bucket("trade", frozenset({Call.BUY, Call.SELL, Call.PROPOSAL}), windows)}
    buckets["other"] = Bucket("other", frozenset(), windows)
    return LimitsTable(buckets, "other", frozenset({Call.PING}), StreamCaps())


def quota(
    windows: Mapping[int, int],
    bots: Mapping[str, float] | str = "a",
    caps: Mapping[str, Mapping[Call, int]] | None = None,
) -> Quota:
    return Quota(table(windows), 1.0, bots if not isinstance(bots, str) else dict.fromkeys(bots, 1.0), caps)


def ask(
    plan: Quota,
    bot: str,
    call: Call = Call.BUY,
    now_ns: int = NOW,
    rank: Rank | None = None,
    deadline_ns: int | None = None,
) -> Permit:
    permit = plan.ask(bot, call, now_ns, deadline_ns, rank)
    assert isinstance(permit, Permit)
    return permit


def fill(plan: Quota, calls: int, now_ns: int = NOW, call: Call = Call.BUY, bot: str = "a") -> list[Permit]:
    """So many calls start, as exits, that reach to the last one."""
    permits = [ask(plan, bot, call, now_ns, Rank.EXIT) for _ in range(calls)]
    assert [permit.state for permit in permits] == [PermitState.GRANTED] * calls
    plan.dispatch(now_ns)
    return permits


def land(plan: Quota, permits: list[Permit], now_ns: int) -> None:
    for permit in permits:
        plan.landed(permit, now_ns)


def woken(plan: Quota, now_ns: int, until_ns: int) -> list[tuple[Permit, int]]:
    """Who is granted, and when, if the quota is woken when it wants to be and nothing else happens."""
    granted: list[tuple[Permit, int]] = []
    while now_ns <= until_ns:
        granted += [(permit, now_ns) for permit in plan.dispatch(now_ns)]
        wake_ns = plan.wake_ns(now_ns)
        if wake_ns is None:
            break
        assert wake_ns > now_ns
        now_ns = wake_ns
    return granted


# --- liveness


def test_a_lost_call_wakes_who_waits_for_it_whatever_happened_in_between() -> None:
    plan = quota({60: 1}, "ab")
    [sent] = fill(plan, 1, bot=GATEWAY)
    plan.lost(sent, NOW)
    first = ask(plan, "a", now_ns=NOW + S)
    plan.dispatch(NOW + S)
    ask(plan, "b", now_ns=NOW + 2 * S)
    [(permit, at_ns)] = woken(plan, NOW + 2 * S, NOW + 70 * S)
    assert permit is first
    assert at_ns <= NOW + 5 * S + MINUTE


def test_calls_of_a_login_wake_who_waits_for_them() -> None:
    plan = quota({60: 1})
    plan.note(Call.BUY, NOW)
    waiting = ask(plan, "a")
    [(permit, at_ns)] = woken(plan, NOW, NOW + 70 * S)
    assert permit is waiting
    assert at_ns <= NOW + 5 * S + MINUTE


def test_an_answer_wakes_a_borrower_though_its_own_share_comes_much_later() -> None:
    plan = quota({60: 30}, {"a": 1.0, "b": 29.0})
    ask(plan, "a")
    sent = [*plan.dispatch(NOW), *fill(plan, 20, bot="b")]
    waiting = ask(plan, "a")
    assert plan.dispatch(NOW) == []
    land(plan, sent, NOW + S)
    granted = woken(plan, NOW + S, NOW + 300 * S)
    assert [permit for permit, _ in granted] == [waiting]
    assert granted[0][1] <= NOW + S + MINUTE


def test_a_cap_of_one_call_a_minute_lets_the_next_go_as_soon_as_the_minute_is_over() -> None:
    plan = quota({60: 30}, "a", {"a": {Call.BUY: 1}})
    ask(plan, "a")
    land(plan, plan.dispatch(NOW), NOW)
    waiting = ask(plan, "a", now_ns=NOW + 59 * S)
    [(permit, at_ns)] = woken(plan, NOW + 59 * S, NOW + 200 * S)
    assert permit is waiting
    assert at_ns <= NOW + MINUTE


def test_a_lost_call_frees_its_cap_in_the_end() -> None:
    plan = quota({60: 30}, "a", {"a": {Call.BUY: 1}})
    ask(plan, "a")
    [sent] = plan.dispatch(NOW)
    waiting = ask(plan, "a")
    plan.lost(sent, NOW)
    [(permit, at_ns)] = woken(plan, NOW, NOW + 100 * S)
    assert permit is waiting
    assert NOW + 65 * S <= at_ns <= NOW + 5 * S + MINUTE


def test_a_bot_at_its_cap_delays_nobody_when_the_call_that_it_could_make_is_cancelled() -> None:
    plan = quota({60: 4}, "ab", {"a": {Call.PROPOSAL: 1}})
    for bot, call in (("a", Call.PROPOSAL), ("b", Call.BUY), ("b", Call.BUY)):
        ask(plan, bot, call)
        land(plan, plan.dispatch(NOW), NOW)
    land(plan, fill(plan, 1, bot=GATEWAY), NOW)
    ask(plan, "a", Call.PROPOSAL, NOW + 50 * S)
    possible = ask(plan, "a", Call.BUY, NOW + 50 * S)
    other = ask(plan, "b", Call.BUY, NOW + 50 * S)
    assert plan.dispatch(NOW + 50 * S) == []
    plan.cancel(possible)
    sent = ask(plan, "a", Call.PROPOSAL, NOW + 51 * S, Rank.EXIT)
    granted = [permit for permit, _ in woken(plan, NOW + 51 * S, NOW + 62 * S)]
    assert {other, sent} <= set(granted)


def test_raised_limits_are_used_at_once() -> None:
    plan = quota({60: 2})
    fill(plan, 2)
    waiting = ask(plan, "a")
    assert plan.dispatch(NOW) == []
    plan.adopt(table({60: 20}))
    assert plan.wake_ns(NOW + S) == NOW + S
    assert plan.dispatch(NOW + S) == [waiting]


def test_a_call_that_was_not_sent_makes_room_for_the_next() -> None:
    plan = quota({60: 2})
    sent = fill(plan, 2)
    waiting = ask(plan, "a", rank=Rank.EXIT)
    assert plan.dispatch(NOW) == []
    plan.unsent(sent[0], NOW + S)
    assert plan.dispatch(NOW + S) == [waiting]


# --- deadlines and forecasts


def test_nothing_is_granted_after_its_deadline() -> None:
    plan = quota({60: 5})
    assert isinstance(plan.ask("a", Call.BUY, NOW, NOW - 1), PermitDenied)
    assert isinstance(plan.ask("a", Call.PING, NOW, NOW - 1), PermitDenied)
    assert ask(plan, "a", deadline_ns=NOW).state is PermitState.GRANTED


def test_a_waiter_expires_at_its_deadline_and_not_before() -> None:
    plan = quota({60: 2})
    land(plan, fill(plan, 2), NOW)
    waiting = ask(plan, "a", rank=Rank.EXIT, deadline_ns=NOW + MINUTE)
    plan.refused_by_deriv(Call.BUY, NOW + 30 * S)
    assert plan.dispatch(NOW + MINUTE) == []
    [(permit, at_ns)] = woken(plan, NOW + MINUTE, NOW + 80 * S)
    assert (permit, permit.state, at_ns) == (waiting, PermitState.EXPIRED, NOW + MINUTE + 1)


def test_a_full_window_whose_calls_are_all_under_way_is_forecast_to_be_full_for_its_length() -> None:
    plan = quota({60: 4})
    fill(plan, 4)
    forecast = plan.forecast("a", Call.SELL, NOW)
    assert (forecast.remaining, forecast.binding) == (0, "trade/60s")
    assert 60 * S < forecast.wait_ns < MINUTE
    denied = plan.ask("a", Call.BUY, NOW, NOW + 10 * S)
    assert isinstance(denied, PermitDenied)
    assert denied.wait_ns > 10 * S


def test_an_exit_behind_another_is_not_refused_for_what_holds_up_only_ordinary_calls() -> None:
    plan = quota({60: 10})
    land(plan, fill(plan, 2), NOW - 50 * S)
    fill(plan, 8)
    first = ask(plan, "a", Call.SELL)
    second = ask(plan, "a", Call.SELL, deadline_ns=NOW + 15 * S)
    granted = [permit for permit, _ in woken(plan, NOW, NOW + 15 * S)]
    assert granted == [first, second]


def test_what_the_line_needs_at_least_is_not_counted_until_an_answer_is_faster() -> None:
    plan = Quota(table({60: 1}), 1.0, {"a": 1.0}, fastest_ns=40 * MS)
    length_ns = CallLog([60]).lengths_ns[0]
    now_ns = NOW
    for took_ms, fastest_ms in ((90, 40), (40, 40), (30, 30), (90, 30), (0, 0), (90, 0)):
        (permit,) = fill(plan, 1, now_ns)
        land(plan, [permit], now_ns + took_ms * MS)
        now_ns += (took_ms - fastest_ms) * MS + length_ns
        assert plan.forecast("a", Call.SELL, now_ns - 1).wait_ns == 1
        assert plan.forecast("a", Call.SELL, now_ns).wait_ns == 0


def test_who_comes_back_for_its_share_is_not_refused_because_of_those_who_borrow() -> None:
    borrowers = [f"b{number}" for number in range(30)]
    plan = quota({60: 60}, dict.fromkeys([*borrowers, "j"], 1.0))
    now_ns = NOW
    for bot in borrowers:
        for _ in range(100):
            ask(plan, bot)
    while now_ns < NOW + 300 * S:
        land(plan, plan.dispatch(now_ns), now_ns)
        now_ns = plan.wake_ns(now_ns) or now_ns
    comes_back = ask(plan, "j", now_ns=now_ns, deadline_ns=now_ns + 2 * S)
    assert comes_back in [permit for permit, _ in woken(plan, now_ns, now_ns + 2 * S)]


def test_a_cap_makes_a_call_wait_only_for_those_of_its_own_kind() -> None:
    plan = quota({60: 10}, "a", {"a": {Call.PROPOSAL: 3}})
    land(plan, fill(plan, 10), NOW)
    for _ in range(8):
        ask(plan, "a", Call.BUY)
    denied = plan.ask("a", Call.PROPOSAL, NOW, NOW + S)
    assert isinstance(denied, PermitDenied)
    assert denied.binding == "trade/60s"


# --- order


def test_calls_of_one_rank_go_in_the_order_in_which_they_were_asked() -> None:
    plan = quota({60: 1})
    land(plan, fill(plan, 1), NOW)
    first = ask(plan, "a", Call.SELL, NOW + 1, Rank.EXIT)
    ask(plan, "a", Call.PROPOSAL, NOW + 2, Rank.EXIT)
    assert woken(plan, NOW + 2, NOW + 61 * S)[0][0] is first


def test_exits_go_before_reconciling_and_that_before_everything_else() -> None:
    plan = quota({60: 12}, "ab")
    land(plan, fill(plan, 12, bot=GATEWAY), NOW)
    asked = [
        ask(plan, "a", Call.BUY),
        ask(plan, GATEWAY, Call.PROPOSAL),
        ask(plan, "b", Call.PROPOSAL),
        ask(plan, "b", Call.BUY),
        ask(plan, "b", Call.SELL),
    ]
    order = [permit for permit, _ in woken(plan, NOW, NOW + 300 * S)]
    assert order == [asked[4], asked[1], asked[0], asked[3], asked[2]]


def test_nothing_that_was_lent_over_hours_is_held_against_a_bot() -> None:
    bots = [f"b{number}" for number in range(60)]
    plan = Quota(table({60: 30}), 1.0, dict.fromkeys(bots, 1.0))
    now_ns = NOW
    for _ in range(2):
        ask(plan, "b0")
    while now_ns < NOW + 8 * 3600 * S:
        for permit in plan.dispatch(now_ns):
            plan.landed(permit, now_ns)
            ask(plan, "b0", now_ns=now_ns)
        now_ns = plan.wake_ns(now_ns) or now_ns
    served = dict.fromkeys(bots, 0)
    for bot in bots[1:]:
        for _ in range(2):
            ask(plan, bot, now_ns=now_ns)
    until_ns = now_ns + 1800 * S
    while now_ns < until_ns:
        for permit in plan.dispatch(now_ns):
            served[permit.bot] += 1
            plan.landed(permit, now_ns)
            ask(plan, permit.bot, now_ns=now_ns)
        now_ns = plan.wake_ns(now_ns) or now_ns
    assert served["b0"] >= 0.8 * sum(served.values()) / len(bots)


# --- books


def test_asking_and_giving_up_over_and_over_leaves_nothing_behind() -> None:
    plan = quota({60: 2, 3600: 2}, "ab")
    for bot in "ab":
        fill(plan, 1, bot=bot)
    ask(plan, "a", deadline_ns=NOW + 7200 * S)
    plan.dispatch(NOW)
    for number in range(5000):
        permit = ask(plan, "b", now_ns=NOW + number, deadline_ns=NOW + 7300 * S)
        plan.dispatch(NOW + number)
        plan.cancel(permit)
    bucket = plan._buckets["trade"]
    level = bucket.ordinary
    assert bucket.waiting == 1
    assert all(len(entries) < 200 for entries in (plan._deadlines, level._own, level._loans, level._due))


def test_what_is_lent_is_what_is_borrowed_to_the_last_call() -> None:
    plan = quota({60: 30}, "abcdefghij")
    fill(plan, 8, bot="a")
    uses = [use for use in plan.share_use(NOW) if use.bucket == "trade"]
    assert sum(use.borrowed for use in uses) == 5
    assert sum(use.lent for use in uses) == 5
    assert all(use.lent <= use.share - use.used for use in uses if use.lent)


def test_saying_twice_what_became_of_a_call_counts_once() -> None:
    plan = quota({60: 10})
    permits = fill(plan, 3)
    plan.landed(permits[0], NOW)
    plan.lost(permits[0], NOW)
    plan.lost(permits[1], NOW)
    plan.landed(permits[1], NOW)
    plan.unsent(permits[2], NOW)
    plan.unsent(permits[2], NOW)
    plan.cancel(permits[2])
    assert [use.used for use in plan.use(NOW) if use.bucket == "trade"] == [2]
    assert [use.used for use in plan.use(NOW + 2 * MINUTE) if use.bucket == "trade"] == [0]


def test_calls_that_wait_are_told_by_bot_and_bucket() -> None:
    plan = quota({60: 1, 3600: 1000}, "ab")
    fill(plan, 1)
    for call in (Call.BUY, Call.SELL):
        ask(plan, "a", call)
    plan.dispatch(NOW)
    assert plan.waiting() == {("a", "trade"): 2, ("a", "other"): 0, ("b", "trade"): 0, ("b", "other"): 0}
    assert plan.waiting() == {(one.bot, one.bucket): one.waiting for one in plan.share_use(NOW)}


@pytest.mark.parametrize("gives_up", ["at once", "later", "never"])
def test_an_exit_that_gives_up_overdraws_the_budget_as_one_that_comes_late(gives_up: str) -> None:
    plan = quota({60: 10, 3600: 1000})
    budget = plan._buckets["trade"].limits._budget
    under_way = fill(plan, 10)
    assert budget.level == 0
    if gives_up == "at once":
        assert isinstance(plan.ask("a", Call.SELL, NOW + S, NOW + 2 * S), PermitDenied)
    else:
        waiting = ask(plan, "a", Call.SELL, NOW + S, deadline_ns=NOW + MINUTE + 2 * S)
        if gives_up == "never":
            land(plan, under_way, NOW + S)
        plan.dispatch(NOW + MINUTE + S + S // 2)
        plan.dispatch(NOW + MINUTE + 3 * S)
        assert waiting.state is (PermitState.GRANTED if gives_up == "never" else PermitState.EXPIRED)
    assert budget.level < 0


def test_an_exit_that_a_rest_or_its_bots_own_cap_holds_up_is_not_for_the_reserve_to_prevent() -> None:
    plan = quota({60: 10, 3600: 1000}, caps={"a": {Call.SELL: 1}})
    budget = plan._buckets["trade"].limits._budget
    waiting = [ask(plan, "a", Call.SELL) for _ in range(2)]
    land(plan, plan.dispatch(NOW), NOW)
    assert isinstance(plan.ask("a", Call.SELL, NOW, NOW + S), PermitDenied)
    plan.dispatch(NOW + MINUTE)
    assert [permit.state for permit in waiting] == [PermitState.DONE, PermitState.GRANTED]
    plan.refused_by_deriv(Call.SELL, NOW + MINUTE)
    resting = ask(plan, "b", Call.SELL, NOW + MINUTE + S)
    assert isinstance(plan.ask("b", Call.SELL, NOW + MINUTE + S, NOW + MINUTE + 2 * S), PermitDenied)
    plan.dispatch(NOW + 2 * MINUTE + S)
    assert resting.state is PermitState.GRANTED
    assert budget.level == 0


def test_a_queue_is_bounded() -> None:
    plan = quota({60: 1}, "ab")
    land(plan, fill(plan, 1), NOW)
    for _ in range(256):
        ask(plan, "a")
    denied = plan.ask("a", Call.BUY, NOW)
    assert isinstance(denied, PermitDenied)
    assert denied.binding == "queue"
    assert ask(plan, "b").state is PermitState.WAITING


def test_free_calls_cost_nothing_and_do_not_wait() -> None:
    plan = Quota(OPTIONS_LIMITS, 1.0, {"a": 1.0})
    permits = [ask(plan, "a", Call.PING) for _ in range(10_000)]
    assert plan.dispatch(NOW) == permits
    assert {use.used for use in plan.use(NOW)} == {0}


@pytest.mark.parametrize("late_ns", [0, 5 * S])
def test_limits_lowered_while_full_hold_everybody_back_until_enough_has_returned(late_ns: int) -> None:
    plan = quota({60: 10})
    land(plan, fill(plan, 10), NOW)
    plan.adopt(table({60: 4}))
    waiting = ask(plan, "a", Call.SELL, NOW + late_ns)
    forecast = plan.forecast("b", Call.SELL, NOW + late_ns)
    assert (forecast.remaining, forecast.binding) == (0, "trade/60s")
    assert woken(plan, NOW + late_ns, NOW + 100 * S) == [
        (waiting, NOW + plan._buckets["trade"].limits.log.lengths_ns[0])
    ]


def test_a_call_that_was_not_sent_makes_its_bot_a_lender_again() -> None:
    plan = quota({60: 30}, {"a": 1.0, "b": 29.0})
    ask(plan, "a")
    [sent] = plan.dispatch(NOW)
    fill(plan, 20, bot="b")
    waiting = ask(plan, "a")
    assert plan.dispatch(NOW) == []
    plan.unsent(sent, NOW + S)
    assert plan.dispatch(NOW + S) == [waiting]


def test_after_a_restart_what_had_just_been_sent_counts_until_it_can_come_no_more() -> None:
    before = quota({60: 10})
    fill(before, 10)
    after = quota({60: 10}, caps={"a": {Call.BUY: 1}})
    after.restore(before.take_blocks(), NOW + S)
    after.recall("a", Call.BUY, NOW + S)
    waiting = ask(after, "a", now_ns=NOW + S)
    [(permit, at_ns)] = woken(after, NOW + S, NOW + 100 * S)
    assert permit is waiting
    assert NOW + 66 * S < at_ns < NOW + 6 * S + MINUTE


def test_a_bots_exits_are_not_taken_from_its_share() -> None:
    plan = quota({60: 30}, {"a": 1.0, "b": 29.0})
    fill(plan, 5, bot="a")
    fill(plan, 13, bot="b")
    assert ask(plan, "a").state is PermitState.GRANTED

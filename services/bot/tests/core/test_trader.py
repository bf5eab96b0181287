"""What a bot does about prices, answers and news: single rules first, then any sequence of events."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derivfleet.bot.core.decisions import Decision
from derivfleet.bot.core.trader import FRESH_S, LATE_S, Trader
from derivfleet.bot.core.trades import (
    Action,
    Ask,
    AskAgain,
    CallFailure,
    CheckOrder,
    Dropped,
    Ended,
    FailureKind,
    Followed,
    Holding,
    OrderNews,
    Outcome,
    Wait,
)
from derivfleet.common.order_state import FINAL, OrderState
from derivfleet.deriv.categories.digits import DIGITOVER
from derivfleet.deriv.ticks import Tick

if TYPE_CHECKING:
    from collections.abc import Sequence

NS_PER_S = 1_000_000_000
T0 = 1_795_161_600
LEAST_TICKS = 5


def tick(epoch_s: int, symbol: str = "R_100") -> Tick:
    return Tick(symbol, epoch_s, Decimal("100.1"), 2)


def ns(epoch_s: float) -> int:
    return round(epoch_s * NS_PER_S)


def always(ticks: Sequence[Tick]) -> Decision | None:
    """Trades as soon as it has seen enough."""
    return Decision(DIGITOVER, 1, "4") if len(ticks) == LEAST_TICKS else None


def new_trader(symbols: tuple[str, ...] = ("R_100",), pause_ticks: int = 0) -> Trader:
    trader = Trader("over-4", always, LEAST_TICKS, lambda: Decimal("0.35"), symbols, pause_ticks)
    trader.hold(dict.fromkeys(symbols, Holding(7, 2**63)))
    return trader


def ready(pause_ticks: int = 0, symbols: tuple[str, ...] = ("R_100",)) -> Trader:
    """A trader that trades on every tick from T0 + 1 on."""
    trader = new_trader(symbols, pause_ticks)
    for symbol in symbols:
        trader.remember(symbol, [tick(T0 - back) for back in range(5)])
    trader.follow(True)
    return trader


def ask(trader: Trader, epoch_s: int, symbol: str = "R_100") -> Ask:
    (action,) = trader.on_tick(tick(epoch_s, symbol), ns(epoch_s))
    assert isinstance(action, Ask)
    return action


def news(key: str, state: OrderState, profit: str | None = None) -> OrderNews:
    return OrderNews(key, state, 301234567888, None if profit is None else Decimal(profit))


def test_a_tick_leads_to_an_order_with_the_id_of_the_decision() -> None:
    intention = ask(ready(), T0 + 1).intention
    assert intention.order_id == f"over-4:R_100:{T0 + 1}:0"
    assert (intention.stake, intention.decision.contract_type) == (Decimal("0.35"), "DIGITOVER")
    assert intention.arrived_ns == ns(T0 + 1)


def test_a_restarted_bot_that_decides_again_asks_for_the_same_order() -> None:
    assert ask(ready(), T0 + 1).intention == ask(ready(), T0 + 1).intention


def test_a_symbol_that_another_replica_holds_is_only_watched() -> None:
    trader = ready(symbols=("R_100", "R_50"))
    trader.hold({"R_100": Holding(8, ns(T0 + 3))})
    assert trader.held_symbols == ("R_100",)
    assert trader.on_tick(tick(T0 + 1, "R_50"), ns(T0 + 1)) == ()
    assert ask(trader, T0 + 1).intention.lease_epoch == 8


def test_a_holding_that_was_not_renewed_ends_by_itself() -> None:
    trader = ready()
    trader.hold({"R_100": Holding(8, ns(T0 + 1))})
    assert trader.on_tick(tick(T0 + 1), ns(T0 + 1)) == ()
    trader.hold({"R_100": Holding(9, ns(T0 + 5))})
    assert ask(trader, T0 + 2).intention.lease_epoch == 9, "the ticks that were only watched are its past"


def test_a_purchase_under_a_lost_lease_gives_the_symbol_up_until_it_is_granted_again() -> None:
    trader = ready()
    key = ask(trader, T0 + 1).intention.order_id
    lost = CallFailure(FailureKind.NO, "LEASE_LOST", "another replica holds R_100")
    (ended,) = trader.on_failure(key, lost, ns(T0 + 1))
    assert isinstance(ended, Ended)
    assert trader.held_symbols == ()
    assert trader.on_tick(tick(T0 + 30), ns(T0 + 30)) == ()


def test_nothing_is_decided_without_enough_past_or_without_the_stream_of_orders() -> None:
    trader = new_trader()
    for epoch_s in range(T0, T0 + 5):
        assert trader.on_tick(tick(epoch_s), ns(epoch_s)) == ()
    trader.follow(True)
    assert trader.on_tick(tick(T0 + 4), ns(T0 + 4)) == (), "a tick that is known is no news"
    assert isinstance(trader.on_tick(tick(T0 + 5), ns(T0 + 5))[0], Ask)


def test_one_trade_a_symbol_and_symbols_do_not_wait_for_each_other() -> None:
    trader = ready(symbols=("R_100", "R_50"))
    first = ask(trader, T0 + 1)
    assert trader.on_tick(tick(T0 + 2), ns(T0 + 2)) == ()
    second = ask(trader, T0 + 2, "R_50")
    assert set(trader.open_orders) == {first.intention.order_id, second.intention.order_id}
    assert trader.on_tick(tick(T0 + 2, "R_75"), ns(T0 + 2)) == (), "not a symbol of this bot"


def test_a_trade_is_followed_to_its_settlement_and_counted() -> None:
    trader = ready()
    key = ask(trader, T0 + 1).intention.order_id
    receipt = news(key, OrderState.CONFIRMED)
    assert trader.on_answer(receipt, ns(T0 + 1)) == (Followed(key, receipt),)
    assert trader.followed_orders == (key,)
    assert trader.on_news(receipt, ns(T0 + 1)) == ()
    assert trader.on_news(news(key, OrderState.SETTLED, "0.22"), ns(T0 + 3)) == (
        Ended(key, Outcome.SETTLED, Decimal("0.22")),
    )
    counters = trader.counters
    assert (counters.settled, counters.wins, counters.profit, counters.errors) == (1, 1, Decimal("0.22"), 0)
    ask(trader, T0 + 4)


def test_news_can_be_faster_than_the_answer() -> None:
    trader = ready()
    key = ask(trader, T0 + 1).intention.order_id
    assert isinstance(trader.on_news(news(key, OrderState.SETTLED, "-0.35"), ns(T0 + 2))[0], Ended)
    assert trader.on_answer(news(key, OrderState.CONFIRMED), ns(T0 + 2)) == ()
    assert (trader.counters.settled, trader.counters.wins, trader.counters.profit) == (1, 0, Decimal("-0.35"))


def test_an_unknown_order_is_followed_until_it_is_known() -> None:
    trader = ready()
    key = ask(trader, T0 + 1).intention.order_id
    assert isinstance(trader.on_answer(news(key, OrderState.UNKNOWN), ns(T0 + 1))[0], Followed)
    assert trader.on_tick(tick(T0 + 2), ns(T0 + 2)) == ()
    (ended,) = trader.on_news(news(key, OrderState.NOT_FOUND), ns(T0 + 40))
    assert isinstance(ended, Ended)
    assert ended.outcome is Outcome.NOT_FOUND
    ask(trader, T0 + 42)


def test_ticks_pass_after_a_trade() -> None:
    trader = ready(pause_ticks=2)
    key = ask(trader, T0 + 1).intention.order_id
    trader.on_news(news(key, OrderState.SETTLED, "0.1"), ns(T0 + 2))
    assert trader.on_tick(tick(T0 + 3), ns(T0 + 3)) == ()
    assert trader.on_tick(tick(T0 + 4), ns(T0 + 4)) == ()
    ask(trader, T0 + 5)


def test_a_late_decision_is_dropped_and_counted() -> None:
    trader = ready()
    (dropped,) = trader.on_tick(tick(T0 + 1), ns(T0 + 1 + LATE_S + 0.5))
    assert isinstance(dropped, Dropped)
    assert (dropped.symbol, dropped.tick_epoch_s, dropped.age_s) == ("R_100", T0 + 1, LATE_S + 0.5)
    assert (trader.counters.late, trader.counters.decided, trader.open_orders) == (1, 0, ())
    ask(trader, T0 + 7)


def test_silence_is_waited_out_and_the_same_order_asked_for_while_the_decision_is_fresh() -> None:
    trader = ready()
    intention = ask(trader, T0 + 1).intention
    key = intention.order_id
    assert trader.on_failure(key, CallFailure(FailureKind.SILENCE, "UNAVAILABLE"), ns(T0 + 1)) == (Wait(key, 0, 0.0),)
    assert trader.on_waited(key, ns(T0 + 2)) == (AskAgain(intention),)
    assert trader.on_failure(key, CallFailure(FailureKind.SILENCE, "UNAVAILABLE", "", 3.0), ns(T0 + 2)) == (
        Wait(key, 1, 3.0),
    )
    assert trader.on_waited(key, ns(T0 + 1 + FRESH_S)) == (AskAgain(intention),)
    assert trader.counters.silences == 2


def test_what_ended_or_was_answered_during_the_wait_is_not_asked_for_again() -> None:
    trader = ready(symbols=("R_100", "R_50"))
    ended, answered = (ask(trader, T0 + 1, symbol).intention.order_id for symbol in ("R_100", "R_50"))
    for key in (ended, answered):
        trader.on_failure(key, CallFailure(FailureKind.SILENCE, "UNAVAILABLE"), ns(T0 + 1))
    trader.on_news(news(ended, OrderState.SETTLED, "0.1"), ns(T0 + 2))
    trader.on_answer(news(answered, OrderState.CONFIRMED), ns(T0 + 2))
    assert trader.on_waited(ended, ns(T0 + 2)) == ()
    assert trader.on_waited(answered, ns(T0 + 2)) == ()


def test_an_old_decision_is_only_looked_for_and_lapses_if_nobody_knows_it() -> None:
    trader = ready()
    key = ask(trader, T0 + 1).intention.order_id
    silence = CallFailure(FailureKind.SILENCE, "DEADLINE_EXCEEDED")
    trader.on_failure(key, silence, ns(T0 + 6))
    assert trader.on_waited(key, ns(T0 + 1.5 + FRESH_S)) == (CheckOrder(key),)
    assert isinstance(trader.on_failure(key, silence, ns(T0 + 20))[0], Wait)
    assert trader.on_waited(key, ns(T0 + 21)) == (CheckOrder(key),)
    assert isinstance(trader.on_failure(key, CallFailure(FailureKind.LIMIT, "QUOTA"), ns(T0 + 30))[0], Wait)
    (ended,) = trader.on_failure(key, CallFailure(FailureKind.ABSENT, "NOT_FOUND"), ns(T0 + 40))
    assert isinstance(ended, Ended)
    assert ended.outcome is Outcome.LAPSED


def test_an_old_decision_that_was_bought_after_all_is_followed() -> None:
    trader = ready()
    key = ask(trader, T0 + 1).intention.order_id
    trader.on_failure(key, CallFailure(FailureKind.SILENCE, "UNAVAILABLE"), ns(T0 + 6))
    trader.on_waited(key, ns(T0 + 20))
    assert isinstance(trader.on_answer(news(key, OrderState.CONFIRMED), ns(T0 + 20))[0], Followed)


def test_news_of_a_denial_does_not_outrun_the_answer_that_says_when_to_come_back() -> None:
    trader = ready()
    key = ask(trader, T0 + 1).intention.order_id
    assert trader.on_news(news(key, OrderState.DENIED), ns(T0 + 1)) == ()
    (ended,) = trader.on_failure(key, CallFailure(FailureKind.LIMIT, "LIMIT_REACHED", "", 20.0), ns(T0 + 1))
    assert isinstance(ended, Ended)
    assert trader.on_tick(tick(T0 + 20), ns(T0 + 20)) == ()
    ask(trader, T0 + 21)


def test_news_of_a_denial_counts_when_no_answer_came() -> None:
    trader = ready()
    key = ask(trader, T0 + 1).intention.order_id
    trader.on_failure(key, CallFailure(FailureKind.SILENCE, "UNAVAILABLE"), ns(T0 + 6))
    trader.on_waited(key, ns(T0 + 20))
    assert isinstance(trader.on_news(news(key, OrderState.DENIED), ns(T0 + 21))[0], Ended)


def test_a_limit_holds_all_symbols_for_as_long_as_the_gateway_says() -> None:
    trader = ready(symbols=("R_100", "R_50"))
    key = ask(trader, T0 + 1).intention.order_id
    (ended,) = trader.on_failure(key, CallFailure(FailureKind.LIMIT, "QUOTA_EXHAUSTED", "", 8.0), ns(T0 + 1))
    assert isinstance(ended, Ended)
    assert (ended.outcome, ended.error_code) == (Outcome.REFUSED, "QUOTA_EXHAUSTED")
    assert trader.on_tick(tick(T0 + 8, "R_50"), ns(T0 + 8)) == ()
    ask(trader, T0 + 9, "R_50")


def test_repeated_refusals_wait_longer_and_a_settlement_forgives_them() -> None:
    trader = ready()
    waits: list[int] = []
    now = T0 + 1
    for _ in range(8):
        key = ask(trader, now).intention.order_id
        trader.on_failure(key, CallFailure(FailureKind.NO, "INSUFFICIENT_BALANCE"), ns(now))
        refused_at = now
        while True:
            now += 1
            actions = trader.on_tick(tick(now), ns(now))
            if actions:
                break
        waits.append(now - refused_at)
        trader.on_answer(news(f"over-4:R_100:{now}:0", OrderState.DENIED), ns(now))
        trader.on_tick(tick(now + 120), ns(now + 120))
        trader.on_answer(news(f"over-4:R_100:{now + 120}:0", OrderState.REJECTED), ns(now + 120))
        now += 300
    assert waits[0] == 1
    assert waits[-1] == 60
    key = ask(trader, now).intention.order_id
    trader.on_news(news(key, OrderState.SETTLED, "0.1"), ns(now))
    key = ask(trader, now + 1).intention.order_id
    trader.on_failure(key, CallFailure(FailureKind.NO, "X"), ns(now + 1))
    ask(trader, now + 2)


def test_a_stopping_bot_decides_nothing_and_still_follows() -> None:
    trader = ready(symbols=("R_100", "R_50"))
    key = ask(trader, T0 + 1).intention.order_id
    trader.stop()
    assert trader.on_tick(tick(T0 + 2, "R_50"), ns(T0 + 2)) == ()
    assert isinstance(trader.on_news(news(key, OrderState.SETTLED, "0.1"), ns(T0 + 3))[0], Ended)


def test_history_joins_what_is_already_known() -> None:
    trader = new_trader()
    trader.follow(True)
    trader.on_tick(tick(T0 + 9), ns(T0 + 9))
    trader.remember("R_100", [tick(T0 + offset) for offset in range(5, 9)])
    assert trader.on_tick(tick(T0 + 8), ns(T0 + 8)) == (), "older than what is known"
    ask(trader, T0 + 10)


@dataclass
class Ledger:
    """What an onlooker writes down of the trader's actions, to judge them."""

    open: dict[str, str] = field(default_factory=dict[str, str])
    seen: set[str] = field(default_factory=set[str])
    ended: int = 0
    ticks_since_end: dict[str, int] = field(default_factory=dict[str, int])

    def judge(self, actions: tuple[Action, ...], now_s: float, pause_ticks: int) -> None:
        for action in actions:
            match action:
                case Ask(intention):
                    assert intention.symbol not in self.open.values()
                    assert intention.order_id not in self.seen
                    assert now_s - intention.tick_epoch_s <= LATE_S
                    assert self.ticks_since_end.get(intention.symbol, 10**6) > pause_ticks
                    self.open[intention.order_id] = intention.symbol
                    self.seen.add(intention.order_id)
                case AskAgain(intention):
                    assert intention.order_id in self.open
                    assert now_s <= intention.tick_epoch_s + LATE_S + FRESH_S
                case CheckOrder(order_id) | Followed(order_id, _) | Wait(order_id, _, _):
                    assert order_id in self.open
                case Ended(order_id, _):
                    self.ticks_since_end[self.open.pop(order_id)] = 0
                    self.ended += 1
                case Dropped(_, tick_epoch_s, _):
                    assert now_s - tick_epoch_s > LATE_S


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["tick", "tick", "tick", "answer", "news", "failure", "waited", "cut", "time"]),
        st.integers(0, 1),
        st.sampled_from(list(OrderState)),
        st.sampled_from(list(FailureKind)),
        st.integers(0, 12),
    ),
    max_size=120,
)


@settings(max_examples=200, deadline=None)
@given(EVENTS, st.integers(0, 3))
def test_whatever_happens_trades_do_not_overlap_and_each_ends_once(
    events: list[tuple[str, int, OrderState, FailureKind, int]], pause_ticks: int
) -> None:
    symbols = ("R_100", "R_50")
    trader, ledger, now_s = ready(pause_ticks, symbols), Ledger(), float(T0)
    for kind, which, state, answer, number in events:
        symbol = symbols[which]
        key = next((order for order, its in ledger.open.items() if its == symbol), "over-4:nobody:1:0")
        actions: tuple[Action, ...] = ()
        match kind:
            case "tick":
                now_s = float(int(now_s) + 1)
                ledger.ticks_since_end[symbol] = ledger.ticks_since_end.get(symbol, 10**6) + 1
                late_s = 0 if number < 11 else 20
                actions = trader.on_tick(tick(int(now_s), symbol), ns(now_s + late_s))
                now_s += late_s
            case "answer":
                actions = trader.on_answer(news(key, state, "0.10"), ns(now_s))
            case "news":
                actions = trader.on_news(news(key, state, "-0.35"), ns(now_s))
                assert state in FINAL or actions == ()
            case "failure":
                actions = trader.on_failure(key, CallFailure(answer, "CODE", "", float(number)), ns(now_s))
            case "waited":
                actions = trader.on_waited(key, ns(now_s))
            case "cut":
                trader.follow(number > 3)
            case _:
                now_s += number
        ledger.judge(actions, now_s, pause_ticks)
    assert set(trader.open_orders) == set(ledger.open)
    assert trader.counters.decided == ledger.ended + len(ledger.open)
    assert trader.counters.settled + trader.counters.errors == ledger.ended


def fresh_ticks(trader: Trader, skew_s: float, count: int) -> list[Action]:
    """What a bot does about ticks that come at once, but by a clock that is wrong by so much."""
    return [
        action
        for number in range(1, count + 1)
        for action in trader.on_tick(tick(T0 + number), ns(T0 + number + skew_s))
    ]


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="a tick's age is told by the bot's own clock alone")
def test_a_bot_whose_clock_is_ahead_trades_on_fresh_ticks() -> None:
    assert any(isinstance(action, Ask) for action in fresh_ticks(ready(), LATE_S + 1, 60))


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="a tick's age is told by the bot's own clock alone")
def test_a_bot_whose_clock_is_behind_does_not_trade_on_old_ticks() -> None:
    trader = ready()
    for action in fresh_ticks(trader, -60, 60):
        if isinstance(action, Ask):
            settled = news(action.intention.order_id, OrderState.SETTLED, "0.33")
            trader.on_news(settled, action.intention.arrived_ns)
    late = tick(T0 + 61)
    assert all(isinstance(action, Dropped) for action in trader.on_tick(late, ns(late.epoch_s - 60 + 30)))

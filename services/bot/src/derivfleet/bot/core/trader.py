"""One bot's trading as a state machine: ticks, answers and order news in, actions out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from derivfleet.bot.core.order_ids import order_id
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
    Intention,
    OrderNews,
    Outcome,
    Wait,
)
from derivfleet.common.order_state import FINAL, OrderState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from derivfleet.bot.core.decisions import NextStake, Strategy
    from derivfleet.deriv.ticks import Tick

__all__ = ["FRESH_S", "LATE_S", "Counters", "Trader"]

NS_PER_S = 1_000_000_000

LATE_S = 4.0
"""A tick older than this is not traded on. R_* symbols tick every 2 s: two ticks late is another market."""

FRESH_S = 10.0
"""How long a decision may be asked for again after silence: twice the deadline of one call."""

LEASE_LOST = "LEASE_LOST"
"""The gateway's reason for a purchase by a replica that does not hold the symbol (any more)."""

_LONGEST_HOLD_S = 60.0


class _Stage(StrEnum):
    ASKING = "asking"
    LOOKING = "looking"
    FOLLOWED = "followed"


@dataclass(slots=True)
class _Trade:
    intention: Intention
    stage: _Stage = _Stage.ASKING
    silences: int = 0


@dataclass(slots=True)
class _Symbol:
    ticks: deque[Tick]
    holding: Holding | None = None
    trade: _Trade | None = None
    pause_left: int = 0
    failures: int = 0
    held_until_ns: int = 0


@dataclass(slots=True)
class Counters:
    """What the bot did since it started."""

    decided: int = 0
    late: int = 0
    followed: int = 0
    settled: int = 0
    wins: int = 0
    errors: int = 0
    silences: int = 0
    profit: Decimal = field(default_factory=Decimal)


class Trader:
    """At most one open trade a symbol. All times given to it are fleet time."""

    def __init__(
        self,
        bot: str,
        strategy: Strategy,
        least_ticks: int,
        next_stake: NextStake,
        symbols: Iterable[str],
        pause_ticks: int,
    ) -> None:
        """``least_ticks`` is how many ticks of a symbol the strategy looks at."""
        self._bot = bot
        self._strategy = strategy
        self._next_stake = next_stake
        self._pause_ticks = pause_ticks
        self._symbols = {symbol: _Symbol(deque(maxlen=least_ticks)) for symbol in symbols}
        self._open: dict[str, _Symbol] = {}
        self._following = False
        self._stopping = False
        self._held_until_ns = 0
        self.counters = Counters()

    @property
    def open_orders(self) -> tuple[str, ...]:
        """Ids of the orders whose end is not known."""
        return tuple(self._open)

    @property
    def followed_orders(self) -> tuple[str, ...]:
        """Those that the gateway is known to have: to ask about after the stream of orders was cut."""
        return tuple(
            key for key, slot in self._open.items() if slot.trade is not None and slot.trade.stage is _Stage.FOLLOWED
        )

    def follow(self, stands: bool) -> None:
        """Whether the stream of orders stands; without it nothing is decided, for nobody would see the end of it."""
        self._following = stands

    def hold(self, holdings: Mapping[str, Holding]) -> None:
        """Which symbols are this replica's to trade from now on; on the others it only watches."""
        for symbol, slot in self._symbols.items():
            slot.holding = holdings.get(symbol)

    @property
    def held_symbols(self) -> tuple[str, ...]:
        """Those that this replica was last told to trade."""
        return tuple(symbol for symbol, slot in self._symbols.items() if slot.holding is not None)

    def stop(self) -> None:
        """Decide nothing any more; open trades go on."""
        self._stopping = True

    def remember(self, symbol: str, ticks: Iterable[Tick]) -> None:
        """Take over a symbol's past; ticks that are already known stay."""
        slot = self._symbols[symbol]
        merged = {tick.epoch_s: tick for tick in (*ticks, *slot.ticks)}
        slot.ticks.clear()
        slot.ticks.extend(merged[epoch_s] for epoch_s in sorted(merged))

    def on_tick(self, tick: Tick, arrived_ns: int) -> tuple[Action, ...]:
        """A tick came: perhaps decide. A tick that is not newer than the last one is no news."""
        slot = self._symbols.get(tick.symbol)
        if slot is None or (slot.ticks and tick.epoch_s <= slot.ticks[-1].epoch_s):
            return ()
        slot.ticks.append(tick)
        holding = slot.holding
        if holding is None or arrived_ns >= holding.expires_ns:
            return ()
        decision = self._strategy(tuple(slot.ticks)) if self._is_free(slot, arrived_ns) else None
        if decision is None:
            return ()
        age_s = arrived_ns / NS_PER_S - tick.epoch_s
        if age_s > LATE_S:
            self.counters.late += 1
            return (Dropped(tick.symbol, tick.epoch_s, age_s),)
        key = order_id(self._bot, tick.symbol, tick.epoch_s)
        stake = self._next_stake()
        intention = Intention(key, tick.symbol, decision, stake, tick.epoch_s, holding.epoch, arrived_ns)
        slot.trade = _Trade(intention)
        self._open[key] = slot
        self.counters.decided += 1
        return (Ask(intention),)

    def _is_free(self, slot: _Symbol, now_ns: int) -> bool:
        if slot.trade is not None or self._stopping or not self._following:
            return False
        if slot.pause_left > 0:
            slot.pause_left -= 1
            return False
        return now_ns >= max(slot.held_until_ns, self._held_until_ns)

    def on_answer(self, news: OrderNews, now_ns: int) -> tuple[Action, ...]:
        """The gateway answered a purchase, or a look at an order, with the order."""
        slot = self._open.get(news.order_id)
        if slot is None or slot.trade is None:
            return ()
        if news.state in FINAL:
            return self._end(slot, _ended(news), now_ns)
        if slot.trade.stage is _Stage.FOLLOWED:
            return ()
        slot.trade.stage = _Stage.FOLLOWED
        self.counters.followed += 1
        return (Followed(news.order_id, news),)

    def on_news(self, news: OrderNews, now_ns: int) -> tuple[Action, ...]:
        """The stream of orders told of a transition. It can be faster than the answer to the purchase."""
        slot = self._open.get(news.order_id)
        if slot is None or slot.trade is None or news.state not in FINAL:
            return ()
        if slot.trade.stage is _Stage.ASKING and news.state in (OrderState.DENIED, OrderState.REJECTED):
            # The call's own answer is on its way and says more: when to come back.
            return ()
        return self._end(slot, _ended(news), now_ns)

    def on_failure(self, key: str, failure: CallFailure, now_ns: int) -> tuple[Action, ...]:
        """A purchase or a look at an order failed."""
        slot = self._open.get(key)
        if slot is None or slot.trade is None:
            return ()
        trade = slot.trade
        match failure.kind:
            case FailureKind.SILENCE:
                return (self._after_silence(trade, failure),)
            case FailureKind.ABSENT if trade.stage is _Stage.LOOKING:
                ended = Ended(
                    key, Outcome.LAPSED, None, failure.code, "no answer in time; the gateway has no such order"
                )
                return self._end(slot, ended, now_ns)
            case FailureKind.NO if failure.code == LEASE_LOST:
                # Another replica trades the symbol now; what the next renewal says is newer than what is known here.
                slot.holding = None
            case FailureKind.LIMIT if trade.stage is _Stage.ASKING:
                # The limit is the bot's or the account's, so no symbol of this bot needs to try before.
                wait_ns = round(max(failure.retry_after_s, 1.0) * NS_PER_S)
                self._held_until_ns = max(self._held_until_ns, now_ns + wait_ns)
            case _ if trade.stage is _Stage.LOOKING:
                return (self._after_silence(trade, failure),)
            case _:
                pass
        return self._end(slot, Ended(key, Outcome.REFUSED, None, failure.code, failure.message), now_ns)

    def on_waited(self, key: str, now_ns: int) -> tuple[Action, ...]:
        """The wait after silence is over: ask again while the decision is fresh, then only look."""
        slot = self._open.get(key)
        if slot is None or slot.trade is None:
            return ()
        trade = slot.trade
        if trade.stage is _Stage.ASKING:
            if now_ns <= trade.intention.arrived_ns + FRESH_S * NS_PER_S:
                return (AskAgain(trade.intention),)
            # Bought this late it would be another trade than the one decided, so only find out whether it was bought.
            trade.stage = _Stage.LOOKING
        return (CheckOrder(key),) if trade.stage is _Stage.LOOKING else ()

    def _after_silence(self, trade: _Trade, failure: CallFailure) -> Wait:
        wait = Wait(trade.intention.order_id, trade.silences, failure.retry_after_s)
        trade.silences += 1
        self.counters.silences += 1
        return wait

    def _end(self, slot: _Symbol, ended: Ended, now_ns: int) -> tuple[Action, ...]:
        del self._open[ended.order_id]
        slot.trade = None
        slot.pause_left = self._pause_ticks
        if ended.outcome is Outcome.SETTLED:
            profit = ended.profit or Decimal()
            slot.failures = 0
            self.counters.settled += 1
            self.counters.wins += profit > 0
            self.counters.profit += profit
        else:
            # The same decision would most likely get the same answer on the next tick.
            hold_s = min(_LONGEST_HOLD_S, 2.0**slot.failures)
            slot.held_until_ns = now_ns + round(hold_s * NS_PER_S)
            slot.failures = min(slot.failures + 1, 10)
            self.counters.errors += 1
        return (ended,)


def _ended(news: OrderNews) -> Ended:
    profit = news.profit if news.state is OrderState.SETTLED else None
    return Ended(news.order_id, Outcome(news.state.value), profit, news.error_code, news.error_message)

"""Exits go before everything else. That must neither starve the others nor be wanting when there are many."""

from __future__ import annotations

import pytest

from derivfleet.deriv.limits import OPTIONS_LIMITS
from derivfleet.deriv.vocabulary import Call
from services.gateway.tests.core.quota.market import Market, percentile

TRADE_A_S = OPTIONS_LIMITS.buckets["trade"].windows[3600] / 3600
"""Calls a second that can be kept up."""
NOTICEABLE_S = 0.25
"""Nobody calls that waiting."""


def bots(count: int) -> list[str]:
    return [f"b{number}" for number in range(count)]


@pytest.mark.xfail(
    raises=AssertionError, strict=True, reason="exits are outside every share, so one bot may take all calls with them"
)
@pytest.mark.parametrize(
    ("flood", "wanted"), [(Call.SELL, Call.BUY), (Call.CONTRACT_UPDATE, Call.TICKS_HISTORY)], ids=["sell", "update"]
)
def test_a_bot_that_exits_without_end_takes_no_more_than_its_share_from_those_who_want_theirs(
    flood: Call, wanted: Call
) -> None:
    market = Market(["hog", *bots(10)])
    market.again_and_again("hog", flood)
    for bot in bots(10):
        for _ in range(2):
            market.again_and_again(bot, wanted)
    market.run(1200)
    sent = [asked for asked in market.calls if asked.sent_ns is not None]
    assert sum(asked.bot != "hog" for asked in sent) >= 0.95 * 10 / 11 * len(sent)


def exits_of_cycles(count: int, hold_s: tuple[float, float], hours: int) -> list[float]:
    """Waits of exits where each bot buys, holds and sells, over and over."""
    market = Market(bots(count))

    def buy(bot: str) -> None:
        market.ask(bot, Call.BUY, lambda: market.at(market.random.uniform(*hold_s), lambda: sell(bot)))

    def sell(bot: str) -> None:
        market.ask(bot, Call.SELL, lambda: buy(bot))

    for bot in bots(count):
        market.at(market.random.uniform(0, 60), lambda bot=bot: buy(bot))
    market.run(hours * 3600)
    return [asked.wait_s for asked in market.calls if asked.call is Call.SELL]


@pytest.mark.parametrize(("count", "hold_s"), [(20, (5, 20)), (100, (60, 120))])
def test_who_closes_each_position_waits_for_no_exit_while_the_limits_are_not_reached(
    count: int, hold_s: tuple[float, float]
) -> None:
    assert percentile(exits_of_cycles(count, hold_s, 2), 0.99) <= NOTICEABLE_S


@pytest.mark.xfail(
    raises=AssertionError,
    strict=True,
    reason="a tenth of each limit is kept for exits, but half of these bots' calls are exits",
)
@pytest.mark.parametrize("count", [40, 80])
def test_who_closes_each_position_waits_for_no_exit_when_the_limits_are_reached(count: int) -> None:
    assert percentile(exits_of_cycles(count, (5, 20), 2), 0.99) <= NOTICEABLE_S


def exits_at_random(part: float) -> list[float]:
    """Waits of exits that come at random, so many parts of what can be kept up, while ten bots buy without end."""
    market = Market(bots(10))
    for bot in bots(10):
        for _ in range(2):
            market.again_and_again(bot, Call.BUY)

    def leave() -> None:
        market.ask(market.random.choice(bots(10)), Call.SELL)
        market.at(market.random.expovariate(part * TRADE_A_S), leave)

    leave()
    market.run(2 * 3600)
    return [asked.wait_s for asked in market.calls if asked.call is Call.SELL]


@pytest.mark.parametrize("part", [0.02, 0.1, 0.2])
def test_few_exits_find_room_at_once(part: float) -> None:
    assert percentile(exits_at_random(part), 0.99) <= NOTICEABLE_S


@pytest.mark.xfail(
    raises=AssertionError,
    strict=True,
    reason="the hour keeps a fixed reserve, drawn for exits that are a tenth of all calls",
)
@pytest.mark.parametrize("part", [0.3, 0.5])
def test_many_exits_find_room_at_once(part: float) -> None:
    assert percentile(exits_at_random(part), 0.99) <= NOTICEABLE_S


@pytest.mark.parametrize(("count", "longest_s"), [(40, NOTICEABLE_S), (300, 60.0)])
def test_bots_that_all_want_out_within_a_second_are_out_within_a_minute_and_a_few_at_once(
    count: int, longest_s: float
) -> None:
    market = Market(bots(count))
    for bot in bots(count):
        for _ in range(2):
            market.again_and_again(bot, Call.BUY)
    market.run(900)
    for bot in bots(count):
        market.at(market.random.random(), lambda bot=bot: market.ask(bot, Call.SELL))
    market.run(120)
    assert max(asked.wait_s for asked in market.calls if asked.call is Call.SELL) <= longest_s

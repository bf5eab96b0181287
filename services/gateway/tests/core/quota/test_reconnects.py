"""After a reconnect the gateway has to hear of its account again, whatever its bots want meanwhile."""

from __future__ import annotations

from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.quota import GATEWAY
from services.gateway.tests.core.quota.market import Market

SYMBOLS = 30


def test_the_accounts_own_streams_open_at_once_and_ticks_soon_while_histories_fill_the_limits() -> None:
    market = Market([f"b{number}" for number in range(10)])

    def histories() -> None:
        for bot in market.bots:
            for _ in range(2):
                market.again_and_again(bot, Call.TICKS_HISTORY)

    histories()
    market.run(700)
    for _ in range(3):
        market.cut()
        histories()
        for _ in range(4):  # logins
            market.plan.note(Call.BALANCE, market.now_ns)
        begin = len(market.calls)
        for call in (Call.TRANSACTION, Call.BALANCE, *[Call.TICKS] * SYMBOLS):
            market.ask(GATEWAY, call)
        market.run(300)
        own = [asked for asked in market.calls[begin:] if asked.bot == GATEWAY]
        assert max(asked.wait_s for asked in own[:2]) == 0
        assert max(asked.wait_s for asked in own[2:]) <= 15

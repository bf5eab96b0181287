"""``python -m derivfleet.bot``: one bot of a fleet, until SIGTERM."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import TYPE_CHECKING

from derivfleet.bot.core.trader import Trader
from derivfleet.bot.gateway_client import GatewayClient
from derivfleet.bot.gauges import gauges
from derivfleet.bot.runner import Runner
from derivfleet.bot.settings import BotSettings
from derivfleet.bot.staking import FlatStaking
from derivfleet.bot.strategies import decide
from derivfleet.common.fleet import load_fleet
from derivfleet.common.logs import bind_context
from derivfleet.common.prometheus import scraped
from derivfleet.common.rpc.own_token import OwnToken
from derivfleet.common.service import run_service

if TYPE_CHECKING:
    import asyncio

    from derivfleet.common.clock import Clock
    from derivfleet.common.telemetry import Telemetry

__all__ = ["main", "serve"]


async def serve(settings: BotSettings, clock: Clock, telemetry: Telemetry, stop: asyncio.Event) -> None:
    """Run the bot of the settings until ``stop``; raises ConfigurationError if it cannot ever work."""
    fleet = load_fleet(settings.fleet)
    bot = fleet.bot(settings.name)
    account = fleet.account_of(bot).key
    token = OwnToken(settings.token_file, "DERIVFLEET_BOT_TOKEN_FILE")
    bind_context(bot=bot.name, account=account)
    trader = Trader(
        bot.name,
        partial(decide, bot.parameters),
        bot.parameters.least_ticks(),
        FlatStaking(bot.stake).next_stake,
        bot.symbols,
        bot.pause_ticks,
    )
    replica = settings.replica or f"{socket.gethostname()}-{os.getpid()}"[-64:]
    bind_context(replica=replica)
    gateway = GatewayClient(settings.gateway, token, bot.name, replica, account, clock)
    try:
        runner = Runner(bot, account, trader, gateway, telemetry, clock)
        async with scraped(
            settings.metrics_listen,
            "DERIVFLEET_BOT_METRICS_LISTEN",
            lambda: gauges(bot.name, trader, runner.last_tick_ns, runner.last_decision_ns),
        ):
            await runner.run(stop)
    finally:
        await gateway.close()


def main() -> int:
    return run_service("bot", BotSettings, serve)


if __name__ == "__main__":
    raise SystemExit(main())

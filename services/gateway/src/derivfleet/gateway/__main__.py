"""The gateway's process: ``python -m derivfleet.gateway``."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from derivfleet.common.fleet import load_fleet
from derivfleet.common.logs import get_logger
from derivfleet.common.prometheus import scraped
from derivfleet.common.redaction import hide
from derivfleet.common.rpc.identity import Role
from derivfleet.common.rpc.identity_source import identities_of
from derivfleet.common.rpc.server import Server
from derivfleet.common.service import run_service
from derivfleet.gateway.account.account import AccountRoom
from derivfleet.gateway.gauges import gauges
from derivfleet.gateway.journal.feed import Feed
from derivfleet.gateway.journal.journal import Journal
from derivfleet.gateway.journal.keeper import Keeper
from derivfleet.gateway.journal.store import InUseError
from derivfleet.gateway.journal.stores import open_store
from derivfleet.gateway.rpc.control import ControlServicer
from derivfleet.gateway.rpc.trading import TradingServicer
from derivfleet.gateway.settings import GatewaySettings
from derivfleet.v1 import control_pb2, control_pb2_grpc, trading_pb2, trading_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.common.clock import Clock
    from derivfleet.common.fleet import Fleet
    from derivfleet.common.rpc.identity import Identities
    from derivfleet.common.telemetry import Telemetry
    from derivfleet.gateway.journal.store import Store

_log = get_logger()
TRADING = trading_pb2.DESCRIPTOR.services_by_name["TradingService"].full_name
CONTROL = control_pb2.DESCRIPTOR.services_by_name["ControlService"].full_name
JOURNAL = "DERIVFLEET_GATEWAY_JOURNAL"
GRACE_WALL_S = 1.0
RETRY_WALL_S = 0.5
LANES = 16
"""Each takes 200 kB. One bot in sixteen arrives in the lane of one that floods."""


async def serve(
    settings: GatewaySettings,
    clock: Clock,
    telemetry: Telemetry,
    stop: asyncio.Event,
    open_store: Callable[[str, str, str], Store] = open_store,
) -> None:
    """Open the journal, listen, connect to Deriv, serve until told to stop, drain."""
    hide(settings.token, settings.journal_password.get_secret_value())
    fleet = load_fleet(settings.fleet)
    store = await _store(settings, clock, stop, open_store)
    if store is not None:
        journal = Journal(settings.journal, JOURNAL, sync=settings.journal_sync, store=store)
        async with identities_of(settings, clock) as identities:
            await _serve(settings, clock, telemetry, stop, identities, fleet, journal)


async def _store(
    settings: GatewaySettings, clock: Clock, stop: asyncio.Event, open_store: Callable[[str, str, str], Store]
) -> Store | None:
    """The journal's database, as soon as it is free; None if it is time to stop before."""
    end_s = clock.now_s() + clock.fleet_s(settings.journal_wait_s)
    is_said = False
    while True:
        try:
            return open_store(settings.journal, JOURNAL, settings.journal_password.get_secret_value())
        except InUseError as error:
            if clock.now_s() > end_s:
                raise
            if not is_said:
                _log.info("waiting for the journal", problem=error.problem, patience_s=settings.journal_wait_s)
            is_said = True
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), RETRY_WALL_S)
            return None


async def _serve(
    settings: GatewaySettings,
    clock: Clock,
    telemetry: Telemetry,
    stop: asyncio.Event,
    identities: Identities,
    fleet: Fleet,
    journal: Journal,
) -> None:
    feed = Feed(journal)
    rooms = {account.key: AccountRoom(account, fleet, settings, clock, telemetry, feed) for account in fleet.accounts}
    for room in rooms.values():
        room.recover()
    for room in rooms.values():
        telemetry.vitals.add(lambda room=room: {f"{room.key}_{name}": count for name, count in room.held.items()})
    keeper = Keeper(journal, clock, settings.journal_hot_days, settings.journal_feed_days)
    server = Server(
        settings.listen,
        "DERIVFLEET_GATEWAY_LISTEN",
        identities,
        {TRADING: frozenset({Role.BOT}), CONTROL: frozenset({Role.OBSERVER, Role.OPERATOR})},
        lanes=LANES,
    )
    trading_pb2_grpc.add_TradingServiceServicer_to_server(TradingServicer(rooms, clock, telemetry), server.grpc_server)
    control_pb2_grpc.add_ControlServiceServicer_to_server(ControlServicer(rooms, feed, clock), server.grpc_server)
    server.announce(TRADING, CONTROL)
    await server.set_serving(serving=False)
    await server.start()
    opening = asyncio.create_task(_open(rooms, server))
    stopping = asyncio.create_task(stop.wait())
    try:
        async with scraped(
            settings.metrics_listen,
            "DERIVFLEET_GATEWAY_METRICS_LISTEN",
            lambda: gauges(rooms.values(), journal, clock.now_ns()),
        ):
            await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                opening.result()
            await stopping
        _log.info("draining")
    finally:
        opening.cancel()
        stopping.cancel()
        feed.close()
        await asyncio.gather(*(room.stop() for room in rooms.values()))
        await server.stop(GRACE_WALL_S)
        await keeper.stop()
        journal.close()


async def _open(rooms: dict[str, AccountRoom], server: Server) -> None:
    for room in rooms.values():
        await room.start()
    for room in rooms.values():
        await room.entered()
        await room.learn_limits()
    await server.set_serving(serving=True)
    _log.info("serving", accounts=list(rooms))


def main() -> int:
    """Run until SIGTERM; returns the exit code."""
    return run_service("gateway", GatewaySettings, serve)


if __name__ == "__main__":
    sys.exit(main())

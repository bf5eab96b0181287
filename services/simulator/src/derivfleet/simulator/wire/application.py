"""Everything on one HTTP server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from derivfleet.common.errors import ConfigurationError
from derivfleet.simulator.wire.connection_hub import ConnectionHub
from derivfleet.simulator.wire.ledger import LedgerEndpoints
from derivfleet.simulator.wire.legacy import LegacyEndpoints
from derivfleet.simulator.wire.options import OptionsEndpoints

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from derivfleet.common.clock import Clock
    from derivfleet.simulator.core.exchange import Exchange

__all__ = ["Running", "running"]

_SHUTDOWN_S = 2.0
"""Wall time for sockets to say goodbye."""


@dataclass(frozen=True, slots=True)
class Running:
    """A simulator that serves."""

    port: int
    """Useful if 0 was asked for."""
    passing: asyncio.Task[None]
    """Lets time pass. It ends only by an unforeseen error, and then nothing is settled any more."""


@asynccontextmanager
async def running(exchange: Exchange, clock: Clock, host: str, port: int) -> AsyncGenerator[Running, None]:
    """Serve until the block ends.

    Raises ConfigurationError if the address cannot be listened on.
    """
    hub = ConnectionHub(exchange, clock)
    application = web.Application()
    for endpoints in (OptionsEndpoints(hub), LegacyEndpoints(hub), LedgerEndpoints(hub)):
        application.add_routes(endpoints.routes)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ConfigurationError(
                "DERIVFLEET_SIMULATOR_LISTEN", f"cannot listen on {host}:{port}: {error.strerror}"
            ) from None
        passing = asyncio.create_task(hub.pass_time())
        try:
            yield Running(runner.addresses[0][1], passing)
        finally:
            passing.cancel()
            await asyncio.wait((passing,))
            hub.close_all()
    finally:
        await runner.cleanup()

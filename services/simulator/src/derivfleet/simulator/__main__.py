"""``python -m derivfleet.simulator``: serve until SIGTERM."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.logs import get_logger
from derivfleet.common.redaction import hide
from derivfleet.common.service import run_service
from derivfleet.simulator.core.exchange import Credentials, Exchange
from derivfleet.simulator.settings import SimulatorService, load_simulator_settings
from derivfleet.simulator.wire.application import running

if TYPE_CHECKING:
    from derivfleet.common.clock import Clock
    from derivfleet.common.telemetry import Telemetry

__all__ = ["main", "serve"]

_LARGEST_PORT = 65535


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > _LARGEST_PORT:
        raise ConfigurationError("DERIVFLEET_SIMULATOR_LISTEN", f"must be host:port, not {listen!r}")
    return host, int(port)


async def serve(service: SimulatorService, clock: Clock, _telemetry: Telemetry, stop: asyncio.Event) -> None:
    """Serve until told to stop. Raises ConfigurationError."""
    hide(service.token)
    host, port = _address(service.listen)
    settings = load_simulator_settings(service.settings)
    credentials = Credentials(service.token, service.app_id)
    exchange = Exchange(service.seed, credentials, settings, int(clock.now_s()))
    log = get_logger()
    async with running(exchange, clock, host, port) as served:
        log.info("serving", address=f"{host}:{served.port}", seed=service.seed, speed=clock.speed)
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((stopping, served.passing), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if served.passing.done():
            served.passing.result()
        log.info("stopping")


def main() -> int:
    """Run the service and return its exit code."""
    return run_service("simulator", SimulatorService, serve)


if __name__ == "__main__":
    sys.exit(main())

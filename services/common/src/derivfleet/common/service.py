"""How every service starts and ends: settings, logs, traces, then work until SIGTERM, then drain."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from derivfleet.common.clock import clock_from_environment
from derivfleet.common.errors import EXIT_CONFIGURATION, ConfigurationError
from derivfleet.common.logs import configure_logs, get_logger
from derivfleet.common.redaction import redact
from derivfleet.common.settings import ServiceSettings, load_settings
from derivfleet.common.telemetry import Telemetry
from derivfleet.common.vitals import every_wall_s, tell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from derivfleet.common.clock import Clock

__all__ = ["run_service"]

SWITCH_S = 0.0005
"""How long the thread that sends traces may hold up the one that does the work: a tenth of Python's own choice."""
SETTLED_AFTER_WALL_S = 5.0
"""When a service has everything that it needs to serve."""

S = TypeVar("S", bound=ServiceSettings)


def _settle() -> None:
    """Take what is here now for permanent, and look for garbage less often.

    Modules, settings and models stay to the end; looking through them for garbage stops everything for tens of
    milliseconds each time. And what a few hundred calls at once hold is no garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


async def _serve(
    name: str,
    settings: S,
    clock: Clock,
    work: Callable[[S, Clock, Telemetry, asyncio.Event], Awaitable[None]],
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sys.setswitchinterval(SWITCH_S)
    telemetry = Telemetry(name, clock, settings.otlp_endpoint)
    loop.call_later(SETTLED_AFTER_WALL_S, _settle)
    every_s = every_wall_s()
    telling = asyncio.create_task(tell(telemetry.vitals, every_s), name="vitals") if every_s else None
    try:
        await work(settings, clock, telemetry, stop)
    finally:
        if telling is not None:
            telling.cancel()
        await asyncio.to_thread(telemetry.close)


def run_service(
    name: str,
    model: type[S],
    work: Callable[[S, Clock, Telemetry, asyncio.Event], Awaitable[None]],
) -> int:
    """Run a service to its end and return its exit code.

    ``work`` serves until its event is set (SIGTERM or SIGINT), drains, and returns. A ConfigurationError from the
    settings or from ``work`` ends in one line on standard error and exit code 2; anything unforeseen is logged with
    its traceback and ends in exit code 1.
    """
    try:
        clock = clock_from_environment()
        settings = load_settings(model)
        configure_logs(name, clock, settings.log_format, settings.log_level)
        with suppress(KeyboardInterrupt):
            asyncio.run(_serve(name, settings, clock, work))
    except ConfigurationError as error:
        sys.stderr.write(redact(f"{name}: {error.key}: {error.problem}\n"))
        return EXIT_CONFIGURATION
    except Exception as error:  # noqa: BLE001 - the outermost place: say it once, with all that is known, and end
        get_logger().exception("ended by an unforeseen error", error=str(error))
        return 1
    return 0

"""Keep-alive of one socket: pings it, judges its health, and gives it up when it is dead."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.clock import NS_PER_S
from derivfleet.connection.connection import AnswerLostError, CallRefusedError
from derivfleet.connection.core.health import Action
from derivfleet.connection.timeouts import health_timeouts
from derivfleet.deriv import requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.common.clock import Clock
    from derivfleet.connection.connection import Connection
    from derivfleet.gateway.upstream.slots import Slot

__all__ = ["monitor"]

_log = structlog.get_logger()

PING_TIMEOUT_S = 10.0
"""A ping that is not answered for so long ends a socket, even one on which streams go on."""
LEAST_PING_TIMEOUT_WALL_S = 2.0
"""Networks and processors do not run faster when the clock does."""


async def monitor(slot: Slot, connection: Connection, clock: Clock, on_news: Callable[[], None]) -> None:
    """Look after a slot's socket until it closes; ``on_news`` hears that calls may be better placed elsewhere now."""
    step_s = health_timeouts(clock).step_ns / NS_PER_S
    try:
        async with asyncio.TaskGroup() as pings:
            while connection.is_open:
                match connection.health.check(clock.now_ns()):
                    case Action.PING:
                        pings.create_task(_ping(slot, connection, clock), name=f"ping {connection.name}")
                    case Action.ABANDON:
                        return _give_up(connection, connection.health.problem)
                    case Action.NOTHING:
                        pass
                if slot.judge(clock.now_ns()):
                    level = _log.warning if slot.problem else _log.info
                    level(f"socket {slot.state}", connection=connection.name, problem=slot.problem or None)
                    on_news()
                await clock.sleep(step_s)
    except Exception:  # noqa: BLE001 - a socket that nobody looks after may be dead without anybody noticing
        _log.exception("looking after a socket failed: giving it up", connection=connection.name)
        connection.give_up()


async def _ping(slot: Slot, connection: Connection, clock: Clock) -> None:
    timeout_s = max(PING_TIMEOUT_S, clock.fleet_s(LEAST_PING_TIMEOUT_WALL_S))
    start_ns = clock.now_ns()
    try:
        await connection.call(requests.Ping(ping=1), timeout_s)
    except AnswerLostError as error:
        if connection.is_open:
            _give_up(connection, str(error))
    except CallRefusedError as error:
        _log.warning("ping refused", connection=connection.name, code=error.code)
    else:
        slot.ping_ms = (clock.now_ns() - start_ns) / 1e6


def _give_up(connection: Connection, problem: str) -> None:
    _log.warning("giving up a socket that does not answer", connection=connection.name, problem=problem)
    connection.give_up()

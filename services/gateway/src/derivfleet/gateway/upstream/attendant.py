"""Looks after one socket: pings it, judges it, and gives it up when it is dead."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from derivfleet.common.clock import NS_PER_S
from derivfleet.connection.connection import AnswerLostError, CallRefusedError
from derivfleet.connection.core.health import Advice
from derivfleet.connection.timeouts import patience_of
from derivfleet.deriv import requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from derivfleet.common.clock import Clock
    from derivfleet.connection.connection import Connection
    from derivfleet.gateway.upstream.seats import Seat

__all__ = ["attend"]

_log = structlog.get_logger()

PING_PATIENCE_S = 10.0
"""A ping that is not answered for so long ends a socket, even one on which streams go on."""
LEAST_PATIENCE_WALL_S = 2.0
"""Networks and processors do not run faster when the clock does."""


async def attend(seat: Seat, connection: Connection, clock: Clock, on_news: Callable[[], None]) -> None:
    """Look after a seat's socket until it closes; ``on_news`` hears that calls may be better placed elsewhere now."""
    step_s = patience_of(clock).step_ns / NS_PER_S
    pings: set[asyncio.Task[None]] = set()
    try:
        while connection.is_open:
            match connection.health.check(clock.now_ns()):
                case Advice.PING:
                    task = asyncio.create_task(_ping(seat, connection, clock), name=f"ping {connection.name}")
                    pings.add(task)
                    task.add_done_callback(pings.discard)
                case Advice.ABANDON:
                    _give_up(connection, connection.health.problem)
                    return
                case Advice.NOTHING:
                    pass
            if seat.judge(clock.now_ns()):
                level = _log.warning if seat.problem else _log.info
                level(f"socket {seat.state}", connection=connection.name, problem=seat.problem or None)
                on_news()
            await clock.sleep(step_s)
    except Exception:  # noqa: BLE001 - a socket that nobody looks after may be dead without anybody noticing
        _log.exception("looking after a socket failed: giving it up", connection=connection.name)
        connection.give_up()
    finally:
        for task in pings:
            task.cancel()


async def _ping(seat: Seat, connection: Connection, clock: Clock) -> None:
    patience_s = max(PING_PATIENCE_S, clock.fleet_s(LEAST_PATIENCE_WALL_S))
    start_ns = clock.now_ns()
    try:
        await connection.call(requests.Ping(ping=1), patience_s)
    except AnswerLostError as error:
        if connection.is_open:
            _give_up(connection, str(error))
    except CallRefusedError as error:
        _log.warning("ping refused", connection=connection.name, code=error.code)
    except Exception:  # noqa: BLE001 - without pings a dead peer is not noticed
        _log.exception("pinging failed: giving the socket up", connection=connection.name)
        connection.give_up()
    else:
        seat.ping_ms = (clock.now_ns() - start_ns) / 1e6


def _give_up(connection: Connection, problem: str) -> None:
    _log.warning("giving up a socket that does not answer", connection=connection.name, problem=problem)
    connection.give_up()

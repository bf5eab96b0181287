"""The processes that are measured: one simulator with its limits lifted, and gateways before it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench.gateway.fleet_setup import ACCOUNT, APP_ID, EPOCH_S, LIFTED, SYMBOL, TOKEN, bot_name, old_order
from bench.gateway.processes import Program, free_port
from derivfleet.common.rpc.identity import Role
from derivfleet.common.rpc.token_file import issue_tokens
from derivfleet.deriv.limits import OPTIONS_LIMITS
from derivfleet.gateway.core.orders.order import State
from derivfleet.gateway.journal.journal import Journal
from derivfleet.gateway.journal.stores import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

__all__ = ["BOTS", "CHUNK", "Testbed", "fill"]

BOTS = 10
CALLS_A_MINUTE = 10_000
"""So that nothing waits for a turn."""
PATIENCE_S = 120.0
CHUNK = 5_000
_BODY = (
    f"replace(replace(body, '{old_order(0).order_id}', 'copy-' || CAST(i AS TEXT)),"
    f" '{old_order(0).contract_id}', CAST(contract_id + i AS TEXT))"
)
WHICH = {
    "INSERT INTO orders (first_position, account, order_id, bot, state, kind, contract_id, profit, ended_ns, body)"  # noqa: S608 - texts and numbers of ours
    " SELECT first_position + 2 * i, account, 'copy-' || CAST(i AS TEXT), bot, state, kind, contract_id + i, profit,"
    f" ended_ns, {_BODY} FROM orders,": "WHERE first_position = 1",
    "INSERT INTO events (position, account, time_ns, body)"  # noqa: S608 - texts and numbers of ours
    f" SELECT position + 2 * i, events.account, time_ns, {_BODY.replace('body', 'events.body')} FROM events, orders,": (
        "WHERE position <= 2 AND first_position = 1"
    ),
}
"""Copies of the first order and of its two transitions, and which rows these are."""


@dataclass(frozen=True, slots=True)
class Testbed:
    """A simulator, and what gateways are told."""

    folder: Path
    simulator_port: int
    tokens: Path

    @classmethod
    def start(cls, stack: ExitStack, folder: Path) -> Testbed:
        """Start the simulator; the stack ends it."""
        lifted = {name: {60: LIFTED, 3600: LIFTED} for name in OPTIONS_LIMITS.buckets}
        settings, port = folder / "simulator.yaml", free_port()
        settings.write_text(yaml.safe_dump({"limits": {"options": lifted}, "connections_per_user": LIFTED}))
        windows = {name: {60: CALLS_A_MINUTE, 3600: 60 * CALLS_A_MINUTE} for name in OPTIONS_LIMITS.buckets}
        bot = {"strategy": "digit_frequency", "symbols": [SYMBOL], "parameters": {"side": "over", "barrier": 4}}
        fleet = {
            "fleet": "bench",
            "accounts": [{"key": ACCOUNT, "limits": {"windows": windows}}],
            "bots": [{"name": bot_name(index), **bot} for index in range(BOTS)],
        }
        (folder / "fleet.yaml").write_text(yaml.safe_dump(fleet))
        tokens = issue_tokens({bot_name(index): Role.BOT for index in range(BOTS)}, folder / "tokens")
        environment = {
            "DERIVFLEET_SIMULATOR_LISTEN": f"127.0.0.1:{port}",
            "DERIVFLEET_SIMULATOR_TOKEN": TOKEN,
            "DERIVFLEET_SIMULATOR_APP_ID": APP_ID,
            "DERIVFLEET_SIMULATOR_SETTINGS": str(settings),
        }
        simulator = stack.enter_context(Program("derivfleet.simulator", folder / "simulator.log", environment))
        simulator.wait_for_port(port)
        return cls(folder, port, tokens)

    def gateway(self, stack: ExitStack, journal: str, module: str = "derivfleet.gateway") -> tuple[int, float]:
        """Start a gateway; its port, and after how many seconds it served."""
        port, start = free_port(), time.monotonic()
        program = Program(
            module,
            self.folder / f"gateway-{port}.log",
            {
                "DERIVFLEET_GATEWAY_LISTEN": f"127.0.0.1:{port}",
                "DERIVFLEET_GATEWAY_FLEET": str(self.folder / "fleet.yaml"),
                "DERIVFLEET_GATEWAY_TOKENS": str(self.tokens),
                "DERIVFLEET_GATEWAY_JOURNAL": journal,
                "DERIVFLEET_GATEWAY_DERIV_URL": f"http://127.0.0.1:{self.simulator_port}",
                "DERIV_TOKEN": TOKEN,
                "DERIV_APP_ID": APP_ID,
            },
        )
        stack.enter_context(program)
        while not asyncio.run(_serves(port)):
            program.check()
            if time.monotonic() > start + PATIENCE_S:
                raise RuntimeError(f"the gateway does not serve after {PATIENCE_S:.0f} s")
            time.sleep(0.02)
        return port, time.monotonic() - start


async def _serves(port: int) -> bool:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)  # pyright: ignore[reportArgumentType] - its stub knows blocking channels only
        try:
            answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.aio.AioRpcError:
            return False
        return int(answer.status) == health_pb2.HealthCheckResponse.SERVING


def fill(place: str, orders: int, step: Callable[[int], None]) -> None:
    """Write so many settled orders into a journal, two transitions each; ``step`` hears how many are done.

    One is written as always and the others are copied from it by the database, or this would take minutes.
    """
    journal = Journal(place, "journal")
    order = old_order(0)
    journal.write(replace(order, state=State.INTENDED, contract_id=0), EPOCH_S * 10**9)
    journal.write(order, (EPOCH_S + 1) * 10**9)
    journal.close()
    store = open_store(place, "journal")
    for first in range(1, orders, CHUNK):
        after = min(first + CHUNK, orders)
        counted = f"(WITH RECURSIVE n (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {after - 1})"  # noqa: S608 - numbers of ours
        numbers = counted + " SELECT i FROM n) AS numbers"  # noqa: S608 - as above
        store.commit([(f"{copy} {numbers} {which}", ()) for copy, which in WHICH.items()], durable=True)
        step(after)
    store.close()

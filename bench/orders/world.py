"""The processes that are measured: one simulator with its limits lifted, and gateways before it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench.gateway.processes import Program, free_port
from bench.gateway.world import ACCOUNT, APP_ID, EPOCH_S, LIFTED, SYMBOL, TOKEN, bot_name, old_order
from derivfleet.common.rpc.identity import Role, issue_tokens
from derivfleet.deriv.limits import OPTIONS_LIMITS
from derivfleet.gateway.core.orders import State
from derivfleet.gateway.journal.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack
    from pathlib import Path

__all__ = ["BOTS", "World", "fill"]

BOTS = 10
CALLS_A_MINUTE = 10_000
"""So that nothing waits for a turn."""
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class World:
    """A simulator, and what gateways are told."""

    folder: Path
    simulator_port: int
    tokens: Path

    @classmethod
    def start(cls, stack: ExitStack, folder: Path) -> World:
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
    """Write so many settled orders into a journal, two transitions each; ``step`` hears how many are done."""
    journal = Journal(place, "journal", sync="none")
    for index in range(orders):
        order = replace(old_order(index), bot=bot_name(index % BOTS))
        intended = replace(order, state=State.INTENDED, contract_id=0, buy_price=None, sell_price=None)
        journal.write(intended, EPOCH_S * 10**9)
        journal.write(order, (EPOCH_S + 1) * 10**9)
        if index % 500 == 0:
            step(index)
    journal.close()

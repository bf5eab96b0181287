"""What the gateway adds to a call: ``Check`` with identity, span and journal, beside a bare gRPC echo in one run."""

from __future__ import annotations

import asyncio
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from derivfleet.common.clock import FleetClock
from derivfleet.common.fleet import load_fleet
from derivfleet.common.rpc.channel import bearer
from derivfleet.common.rpc.identity import Role, TokenFile, issue_tokens, read_token
from derivfleet.common.rpc.server import Server
from derivfleet.common.telemetry import Telemetry
from derivfleet.gateway.accounts import AccountRoom
from derivfleet.gateway.core.orders import Order, OrderTerms, State
from derivfleet.gateway.journal.feed import Feed
from derivfleet.gateway.journal.journal import Journal
from derivfleet.gateway.rpc.trading import TradingServicer
from derivfleet.gateway.settings import GatewaySettings
from derivfleet.v1 import trading_pb2, trading_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CALLS = 2000
AT_ONCE = 10
ROUNDS = 3


class _Echo(trading_pb2_grpc.TradingServiceServicer):
    async def Check(self, request: trading_pb2.CheckRequest, context: object) -> trading_pb2.CheckResponse:  # noqa: N802
        del request, context
        return trading_pb2.CheckResponse()


async def _rate(call: Callable[[], Awaitable[object]]) -> float:
    async def worker() -> None:
        for _ in range(CALLS // AT_ONCE):
            await call()

    start = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return CALLS / (time.perf_counter() - start)


async def _measure(folder: Path) -> dict[str, float]:
    echo = grpc.aio.server()
    servicer: Any = _Echo
    trading_pb2_grpc.add_TradingServiceServicer_to_server(servicer(), echo)
    echo_port = echo.add_insecure_port("127.0.0.1:0")
    await echo.start()

    fleet = load_fleet(Path("fleet.yaml"))
    bot = fleet.bots[0].name
    tokens = issue_tokens({bot: Role.BOT}, folder)
    clock, feed = FleetClock(), Feed(Journal(folder / "journal.sqlite", "journal"))
    telemetry = Telemetry("gateway", clock)
    terms = OrderTerms("DIGITOVER", "1HZ100V", Decimal("0.35"), 1, "t", "4")
    feed.write(Order("demo", "o1", bot, terms, State.DENIED, clock.now_ns()), clock.now_ns())
    settings = GatewaySettings.model_validate(
        {
            "fleet": "fleet.yaml",
            "tokens": tokens,
            "journal": folder / "j",
            "DERIV_TOKEN": "none",
            "DERIV_APP_ID": "none",
        }
    )
    rooms = {"demo": AccountRoom(fleet.accounts[0], fleet, settings, clock, telemetry, feed)}
    server = Server("127.0.0.1:0", "listen", TokenFile(tokens, "tokens"))
    trading_pb2_grpc.add_TradingServiceServicer_to_server(TradingServicer(rooms, clock, telemetry), server.grpc_server)
    port = await server.start()

    request = trading_pb2.CheckRequest(account="demo", order_id="o1")
    metadata = bearer(read_token(folder / f"{bot}.token", "token"))
    async with (
        grpc.aio.insecure_channel(f"127.0.0.1:{echo_port}") as bare,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as full,
    ):
        plain, ours = trading_pb2_grpc.TradingServiceStub(bare), trading_pb2_grpc.TradingServiceStub(full)
        rates = [
            (await _rate(lambda: plain.Check(request)), await _rate(lambda: ours.Check(request, metadata=metadata)))
            for _ in range(ROUNDS)
        ]
    await echo.stop(0)
    await server.stop(0)
    echo_rate, rate = max(first for first, _ in rates), max(second for _, second in rates)
    return {
        "echo_calls_per_s": echo_rate,
        "check_calls_per_s": rate,
        "ratio_to_echo": rate / echo_rate,
        "microseconds_added": 1e6 / rate - 1e6 / echo_rate,
    }


def measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder)))

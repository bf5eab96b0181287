"""A whole fleet in one test: real services on real sockets, in one process, with a wire tap before Deriv's stand-in."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc
from ports import free_port
from recorder import Recorder, tapped

from derivfleet.bot.__main__ import serve as serve_bot
from derivfleet.bot.settings import BotSettings
from derivfleet.common.clock import FleetClock
from derivfleet.common.rpc.identity import Role
from derivfleet.common.rpc.own_token import bearer, read_token
from derivfleet.common.rpc.token_file import issue_tokens
from derivfleet.common.telemetry import Telemetry
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.gateway.__main__ import serve as serve_gateway
from derivfleet.gateway.settings import GatewaySettings
from derivfleet.metrics.service import serve as serve_metrics
from derivfleet.metrics.settings import MetricsSettings
from derivfleet.simulator.__main__ import serve as serve_simulator
from derivfleet.simulator.settings import SimulatorService
from derivfleet.v1 import control_pb2, control_pb2_grpc, orders_pb2, reports_pb2_grpc, trading_pb2, trading_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

__all__ = ["RunningFleet", "eventually", "one_bot", "running_fleet"]

T = TypeVar("T")
TOKEN = "canary-3b1f0c77d2"
APP_IDS = {Dialect.OPTIONS: "testApp", Dialect.LEGACY: "12345"}
PATIENCE_S = 60.0
DIGITS: dict[str, Any] = {
    "contract_type": "DIGITOVER",
    "symbol": "1HZ100V",
    "stake": "0.35",
    "duration": 1,
    "duration_unit": "t",
    "barrier": "4",
}


async def eventually(ask: Callable[[], Awaitable[T]], holds: Callable[[T], bool], patience_s: float = PATIENCE_S) -> T:
    """Ask until the answer holds; fails with the last answer."""
    end = time.monotonic() + patience_s
    while True:
        answer = await ask()
        if holds(answer):
            return answer
        assert time.monotonic() < end, f"not within {patience_s} s: {answer}"
        await asyncio.sleep(0.1)


def one_bot(name: str = "one", **change: Any) -> dict[str, Any]:
    """A bot that trades at nearly every tick."""
    parameters = {"side": "over", "barrier": 4, "window_ticks": 5, "deficit": -1.0}
    return {"name": name, "strategy": "digit_frequency", "symbols": ["1HZ100V"], "parameters": parameters, **change}


@dataclass
class RunningFleet:
    """A running fleet and the ways into it."""

    folder: Path
    clock: FleetClock
    recorder: Recorder
    simulator_url: str
    trading: trading_pb2_grpc.TradingServiceAsyncStub
    control: control_pb2_grpc.ControlServiceAsyncStub
    reports: reports_pb2_grpc.ReportsServiceAsyncStub
    web_url: str
    scrape_urls: dict[str, str]
    """Where Prometheus would ask, by service; a bot's by its name."""
    restart_gateway: Callable[[], Awaitable[None]]
    gateway: str
    """host:port, for connections of one's own."""
    metrics: str
    """host:port of the metrics service."""
    channel: Any  # of grpc.aio; its calls with plain bytes have no types
    stop_bots: Callable[[], Awaitable[None]]
    stop_bot: Callable[[int], Awaitable[None]]

    async def send_bytes(self, method: str, body: bytes, metadata: tuple[tuple[str, str], ...]) -> object:
        """Call a method with anything."""
        call = self.channel.unary_unary(method)
        answer: object = await call(body, metadata=metadata)
        return answer

    def as_bot(self, name: str) -> tuple[tuple[str, str], ...]:
        return bearer(read_token(self.folder / f"tokens/{name}.token", "token"))

    @property
    def as_operator(self) -> tuple[tuple[str, str], ...]:
        return self.as_bot("operator")

    async def hold(self, bot: str = "one", replica: str = "test") -> dict[str, int]:
        """Renew a bot's leases; returns symbol → epoch."""
        request = trading_pb2.RenewLeasesRequest(account="demo", replica=replica)
        answer = await self.trading.RenewLeases(request, metadata=self.as_bot(bot))
        return {lease.symbol: lease.epoch for lease in answer.leases}

    async def buy(
        self, order_id: str, bot: str = "one", deadline_wall_s: float | None = None, **terms: Any
    ) -> trading_pb2.BuyResponse:
        """Buy as a bot that holds all its symbols."""
        epochs = await self.hold(bot)
        full: dict[str, Any] = {**DIGITS, **terms}
        request = trading_pb2.BuyRequest(
            account="demo",
            order_id=order_id,
            terms=orders_pb2.ContractTerms(**full),
            replica="test",
            lease_epoch=epochs.get(full["symbol"], 0),
        )
        return await self.trading.Buy(request, metadata=self.as_bot(bot), timeout=deadline_wall_s, wait_for_ready=True)

    async def ledger(self) -> dict[str, Any]:
        return await self.fetch(f"{self.simulator_url}/ledger")

    async def account_in_ledger(self) -> dict[str, Any]:
        (account,) = [
            account
            for account in (await self.ledger())["accounts"]
            if account["loginid"] == (await self.account()).login_id
        ]
        found: dict[str, Any] = account
        return found

    @property
    def page_token(self) -> str:
        return read_token(self.folder / "tokens/page_reader.token", "token")

    async def fetch(self, url: str, token: str = "") -> dict[str, Any]:
        headers = dict(bearer(token)) if token else {}
        async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as answer:
            assert answer.status == 200, await answer.text()
            body: dict[str, Any] = await answer.json()
            return body

    async def fault(self, rule: dict[str, Any]) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.simulator_url}/faults", json=rule) as answer,
        ):
            assert answer.status < 300, await answer.text()

    async def faults(self) -> list[dict[str, Any]]:
        """The rules of the simulator's mishaps, and how often each has happened."""
        found: list[dict[str, Any]] = (await self.fetch(f"{self.simulator_url}/faults"))["faults"]
        return found

    async def orders(self) -> list[orders_pb2.Order]:
        answer = await self.control.ListOrders(control_pb2.ListOrdersRequest(limit=1000), metadata=self.as_operator)
        return list(answer.orders)

    async def account(self) -> control_pb2.AccountStatus:
        answer = await self.control.GetStatus(control_pb2.GetStatusRequest(), metadata=self.as_operator)
        return answer.accounts[0]


class _Part:
    """One service under way."""

    def __init__(self, start: Callable[[asyncio.Event], Awaitable[None]]) -> None:
        self._stop = asyncio.Event()
        self.task = asyncio.ensure_future(start(self._stop))

    async def end(self) -> None:
        self._stop.set()
        await asyncio.wait_for(self.task, PATIENCE_S)


async def _serving(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)  # pyright: ignore[reportArgumentType] - its stub knows blocking channels only

        async def ask() -> int:
            try:
                return int((await health.Check(health_pb2.HealthCheckRequest())).status)
            except grpc.aio.AioRpcError:
                return 0

        await eventually(ask, lambda status: status == health_pb2.HealthCheckResponse.SERVING)


async def _started(part: _Part, address: str) -> None:
    """Wait until a service serves; raises what ended it if it does not."""
    serving = asyncio.ensure_future(_serving(address))
    await asyncio.wait((serving, part.task), return_when=asyncio.FIRST_COMPLETED)
    if part.task.done():
        serving.cancel()
        part.task.result()
    await serving


def _scraped_at(name: str, urls: dict[str, str]) -> str:
    """Where a service is to serve its gauges; noted among the ``urls``."""
    address = f"127.0.0.1:{free_port()}"
    urls[name] = f"http://{address}/metrics"
    return address


@asynccontextmanager
async def running_fleet(
    folder: Path,
    dialect: Dialect = Dialect.OPTIONS,
    bots: list[dict[str, Any]] | None = None,
    accounts: list[dict[str, Any]] | None = None,
    running: tuple[str, ...] = (),
    speed: float = 10,
    simulator: dict[str, Any] | None = None,
    with_metrics: bool = False,
    token: str = TOKEN,
    journal: str = "",
    scraped: bool = False,
) -> AsyncGenerator[RunningFleet, None]:
    """Start a fleet: ``bots`` are in the fleet file, ``running`` of them run; the others can be played by the test.

    A bot that is named twice in ``running`` has two replicas. ``scraped``: gateway and bots serve their gauges, too.
    """
    bots = bots or [one_bot()]
    fleet = folder / "fleet.yaml"
    fleet.write_text(yaml.safe_dump({"fleet": "test", "accounts": accounts or [{"key": "demo"}], "bots": bots}))
    bearers = {bot["name"]: Role.BOT for bot in bots} | {
        "operator": Role.OPERATOR,
        "metrics": Role.OBSERVER,
        "page_reader": Role.OBSERVER,
    }
    tokens = issue_tokens(bearers, folder / "tokens")
    clock = FleetClock(speed, time.time_ns())
    ports = {name: free_port() for name in ("simulator", "gateway", "metrics", "web")}
    at = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    settings_file = folder / "simulator.yaml"
    settings_file.write_text(yaml.safe_dump(simulator or {}))
    otlp = at["metrics"] if with_metrics else ""
    scrape_urls = {"simulator": f"http://{at['simulator']}/metrics", "metrics": f"http://{at['web']}/metrics"}

    def part(serve: Callable[..., Awaitable[None]], name: str, settings: object) -> _Part:
        async def start(stop: asyncio.Event) -> None:
            telemetry = Telemetry(name, clock, otlp)
            try:
                await serve(settings, clock, telemetry, stop)
            finally:
                await asyncio.to_thread(telemetry.close)

        return _Part(start)

    async with AsyncExitStack() as stack:

        def keep(running_part: _Part) -> _Part:
            stack.push_async_callback(running_part.end)
            return running_part

        app_id = APP_IDS[dialect]
        keep(
            part(
                serve_simulator,
                "simulator",
                SimulatorService(listen=at["simulator"], token=TOKEN, app_id=app_id, settings=str(settings_file)),
            )
        )
        tap = await stack.enter_async_context(tapped(f"http://{at['simulator']}"))
        if with_metrics:
            store = folder / "metrics.sqlite"
            keep(
                part(
                    serve_metrics,
                    "metrics",
                    MetricsSettings(
                        listen=at["metrics"],
                        web=at["web"],
                        gateway=at["gateway"],
                        token_file=folder / "tokens/metrics.token",
                        tokens=tokens,
                        store=store,
                        fleet=fleet,
                    ),
                )
            )
            await _serving(at["metrics"])
        gateway_settings = GatewaySettings.model_validate(
            {
                "listen": at["gateway"],
                "metrics_listen": _scraped_at("gateway", scrape_urls) if scraped else "",
                "fleet": fleet,
                "tokens": tokens,
                "journal": journal or folder / "journal.sqlite",
                "deriv_url": tap.url,
                "legacy_url": tap.url.replace("http", "ws"),
                "DERIV_TOKEN": token,
                "DERIV_APP_ID": app_id,
            }
        )
        gateways = [part(serve_gateway, "gateway", gateway_settings)]
        await _started(gateways[0], at["gateway"])
        stack.push_async_callback(lambda: gateways[0].end())  # noqa: PLW0108 - whichever it is by then

        async def restart_gateway() -> None:
            await gateways[0].end()
            gateways[0] = part(serve_gateway, "gateway", gateway_settings)
            await _started(gateways[0], at["gateway"])

        playing = [
            keep(
                part(
                    serve_bot,
                    "bot",
                    BotSettings(
                        name=name,
                        replica=f"{name}-{index}",
                        fleet=fleet,
                        gateway=at["gateway"],
                        metrics_listen=_scraped_at(name, scrape_urls) if scraped else "",
                        token_file=folder / f"tokens/{name}.token",
                    ),
                )
            )
            for index, name in enumerate(running)
        ]

        async def stop_bots() -> None:
            await asyncio.gather(*(bot.end() for bot in playing))

        async def stop_bot(index: int) -> None:
            await playing[index].end()

        channel = await stack.enter_async_context(grpc.aio.insecure_channel(at["gateway"]))
        metrics = await stack.enter_async_context(grpc.aio.insecure_channel(at["metrics"]))
        yield RunningFleet(
            folder=folder,
            clock=clock,
            recorder=tap,
            simulator_url=f"http://{at['simulator']}",
            trading=trading_pb2_grpc.TradingServiceStub(channel),
            control=control_pb2_grpc.ControlServiceStub(channel),
            reports=reports_pb2_grpc.ReportsServiceStub(metrics),
            web_url=f"http://{at['web']}",
            scrape_urls=scrape_urls,
            restart_gateway=restart_gateway,
            gateway=at["gateway"],
            metrics=at["metrics"],
            channel=channel,
            stop_bots=stop_bots,
            stop_bot=stop_bot,
        )

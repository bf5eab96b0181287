"""The gateway itself with its bots. All that names its own rooms is in this file."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import patch

import grpc
import yaml

from derivfleet.bot import __main__ as bot_main
from derivfleet.bot import gateway_client as bots_gateway
from derivfleet.bot import strategies
from derivfleet.bot.settings import BotSettings
from derivfleet.common.fleet import load_fleet
from derivfleet.common.rpc.own_token import bearer
from derivfleet.common.rpc.status import Problem, problem_of
from derivfleet.common.telemetry import Telemetry
from derivfleet.connection.connection import AnswerLostError, CallRefusedError, Connection
from derivfleet.connection.login import AccountFacts, CredentialError, LoginError
from derivfleet.deriv import requests
from derivfleet.deriv.dialects import dialect as dialect_named
from derivfleet.deriv.vocabulary import Call, Dialect
from derivfleet.gateway.account.account import AccountRoom
from derivfleet.gateway.journal.feed import Feed
from derivfleet.gateway.journal.journal import Journal
from derivfleet.gateway.rpc.control import ControlServicer
from derivfleet.gateway.rpc.trading import TradingServicer
from derivfleet.gateway.settings import GatewaySettings
from derivfleet.v1 import control_pb2, control_pb2_grpc, orders_pb2, trading_pb2, trading_pb2_grpc
from tests.sim.virtual_time import Loop
from tests.virtual_gateway.channel import Channel
from tests.virtual_gateway.clock import WrongClock
from tests.virtual_gateway.deriv import APP_IDS, TOKEN, Deriv

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Sequence
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection

    from derivfleet.bot.core.decisions import Decision
    from derivfleet.common.clock import Clock
    from derivfleet.common.strategy_parameters import StrategyParameters
    from derivfleet.deriv.ticks import Tick
    from tests.sim.virtual_time import Timeline
    from tests.virtual_gateway.deriv import Frame

__all__ = ["DIGITS", "EAGER", "TIMED", "VirtualGateway", "state_of", "virtual_gateway"]

MOST_ORDERS = 1000
DIGITS: Frame = {
    "contract_type": "DIGITOVER",
    "symbol": "1HZ100V",
    "stake": "0.35",
    "duration": 1,
    "duration_unit": "t",
    "barrier": "4",
}
"""Ends with the next tick."""
TIMED: Frame = {**DIGITS, "contract_type": "CALL", "stake": "10", "duration": 10, "duration_unit": "m", "barrier": ""}
"""Can be sold back."""
EAGER: Frame = {"side": "over", "barrier": 4, "window_ticks": 5, "deficit": -1.0}
"""What lets a bot trade at every tick."""


def state_of(order: orders_pb2.Order) -> str:
    """The state's name as people write it: confirmed, not_found …"""
    return orders_pb2.OrderState.Name(order.state).removeprefix("ORDER_STATE_").lower()


class VirtualLogin:
    """The way in: a socket, and the dialect's own first call."""

    def __init__(self, deriv: Deriv, clock: Clock) -> None:
        self._deriv = deriv
        self._clock = clock
        self.codec = dialect_named(deriv.dialect)
        self.login_calls = (Call.BALANCE if deriv.dialect is Dialect.OPTIONS else Call.AUTHORIZE,)

    async def connect(self, name: str) -> tuple[Connection, AccountFacts]:
        if self._deriv.is_away:
            raise LoginError("no connection")
        if self._deriv.exchange.faults.on_login():
            raise CredentialError("DERIV_TOKEN", "Deriv does not accept it")
        socket = cast("ClientConnection", self._deriv.open())
        connection = Connection(name, socket, self.codec, self._clock)
        try:
            if self._deriv.dialect is Dialect.LEGACY:
                told = self.codec.decode_authorize(await connection.call(requests.Authorize(authorize=TOKEN), 30))
                return connection, AccountFacts(told.loginid, told.currency, told.balance, told.is_virtual)
            balance = self.codec.decode_balance(await connection.call(requests.Balance(balance=1), 30))
            return connection, AccountFacts(balance.loginid, balance.currency, balance.balance, is_demo=True)
        except (AnswerLostError, CallRefusedError) as error:
            await connection.close()
            raise LoginError(str(error)) from None

    async def close(self) -> None:
        """Nothing is held between logins."""


class VirtualGateway:
    """One gateway with the account ``demo`` and its bots, before one Deriv."""

    def __init__(self, folder: Path, timeline: Timeline, deriv: Deriv, fleet: Frame, ahead_s: float) -> None:
        self.deriv = deriv
        self.clock = WrongClock(timeline, ahead_s)
        self._channel = cast("grpc.aio.Channel", Channel(self.method))
        self.trading = trading_pb2_grpc.TradingServiceStub(self._channel)
        self.control = control_pb2_grpc.ControlServiceStub(self._channel)
        self._timeline = timeline
        self._folder = folder
        self._path = folder / "journal.sqlite"
        (folder / "fleet.yaml").write_text(yaml.safe_dump(fleet))
        self._fleet = load_fleet(folder / "fleet.yaml")
        self._lives = 0
        self._bots: list[tuple[asyncio.Event, asyncio.Task[None]]] = []
        self._passing = asyncio.create_task(deriv.pass_time())

    # Its life

    async def start(self) -> None:
        """Take up the journal, connect and serve."""
        values = {"fleet": self._folder / "fleet.yaml", "journal": self._path, "tokens": "tokens"}
        secrets = {"DERIV_TOKEN": TOKEN, "DERIV_APP_ID": APP_IDS[self.deriv.dialect]}
        settings = GatewaySettings.model_validate({**values, **secrets})
        self._journal = Journal(self._path, "JOURNAL")
        clock, telemetry = self.clock, Telemetry("gateway", self.clock)
        feed = self._feed = Feed(self._journal)
        self._account = AccountRoom(
            self._fleet.accounts[0], self._fleet, settings, clock, telemetry, feed, VirtualLogin(self.deriv, clock)
        )
        self._account.recover()
        rooms = {self._account.key: self._account}
        self._services = {
            "TradingService": TradingServicer(rooms, clock, telemetry),
            "ControlService": ControlServicer(rooms, feed, clock),
        }
        await self._account.start()
        await self._account.entered()
        await self._account.learn_limits()

    async def stop(self) -> None:
        """Drain and close."""
        self._feed.close()
        await self._account.stop()
        self._journal.close()

    async def restart(self) -> None:
        """Drain, close and start again."""
        await self.stop()
        await self.start()

    async def die(self, behind_s: float = 0.0) -> None:
        """End without a word, and start again on what the journal held, with a clock that is ``behind_s`` behind."""
        self._lives += 1
        left = self._path.with_name(f"journal-{self._lives}.sqlite")
        for file in self._path.parent.glob(f"{self._path.name}*"):
            shutil.copy(file, left.with_name(file.name.replace(self._path.name, left.name)))
        await self.stop()
        self._path = left
        self.clock = WrongClock(self._timeline, self.clock.ahead_s - behind_s)
        await self.start()

    async def end(self) -> None:
        """End all."""
        await self.stop_bots()
        await self.stop()
        self._passing.cancel()
        with suppress(asyncio.CancelledError):
            await self._passing

    def method(self, path: str) -> Callable[..., Any]:
        """The method of a service that a gRPC path names."""
        service, name = path.rpartition("/")[::2]
        return getattr(self._services[service.rpartition(".")[2]], name)

    def run_bot(self, name: str = "one", on_window: Callable[[Sequence[Tick]], None] = lambda _: None) -> None:
        """Let a bot of the fleet trade; ``on_window`` hears of the ticks that its strategy is shown."""
        token = self._folder / f"{name}.token"
        token.write_text(f"{name}.secret")
        fleet = self._folder / "fleet.yaml"
        settings = BotSettings(name=name, replica="test", fleet=fleet, gateway="nowhere:1", token_file=token)
        stop = asyncio.Event()

        def decide(parameters: StrategyParameters, ticks: Sequence[Tick]) -> Decision | None:
            on_window(ticks)
            return strategies.decide(parameters, ticks)

        async def run() -> None:
            with (
                patch.object(bots_gateway, "open_channel", self._open_channel),
                patch.object(bot_main, "decide", decide),
            ):
                await bot_main.serve(settings, self.clock, Telemetry("bot", self.clock), stop)

        self._bots.append((stop, asyncio.create_task(run())))

    def _open_channel(self, _target: str) -> grpc.aio.Channel:
        return self._channel

    async def stop_bots(self) -> None:
        """Let the bots end their trades."""
        for stop, _ in self._bots:
            stop.set()
        await asyncio.gather(*(task for _, task in self._bots))
        self._bots.clear()

    # What bots and operators do

    async def buy(
        self, order_id: str, bot: str = "one", deadline_s: float | None = 30, **terms: Any
    ) -> orders_pb2.Order:
        """Buy as a bot that holds the symbol. Raises grpc.aio.AioRpcError."""
        full: Frame = {**DIGITS, **terms}
        renewal = trading_pb2.RenewLeasesRequest(account="demo", replica="test")
        leases = (await self.trading.RenewLeases(renewal, metadata=self.as_bot(bot))).leases
        request = trading_pb2.BuyRequest(
            account="demo",
            order_id=order_id,
            terms=orders_pb2.ContractTerms(**full),
            replica="test",
            lease_epoch=next((lease.epoch for lease in leases if lease.symbol == full["symbol"]), 0),
        )
        return (await self.trading.Buy(request, metadata=self.as_bot(bot), timeout=deadline_s)).order

    async def lose(self, order_id: str, bot: str = "one", **terms: Any) -> orders_pb2.Order:
        """Buy, and let the socket die instead of answering."""
        self.deriv.fault("drop_after", "buy")
        order = await self.buy(order_id, bot, **terms)
        assert state_of(order) == "unknown"
        return order

    async def sell(
        self, order_id: str, exit_id: str = "", bot: str = "one", deadline_s: float | None = 30
    ) -> trading_pb2.SellResponse:
        """Sell. Raises grpc.aio.AioRpcError."""
        request = trading_pb2.SellRequest(account="demo", order_id=order_id, exit_id=exit_id)
        return await self.trading.Sell(request, metadata=self.as_bot(bot), timeout=deadline_s)

    @staticmethod
    def as_bot(name: str) -> tuple[tuple[str, str], ...]:
        return bearer(f"{name}.secret")

    @staticmethod
    async def problem(what: Awaitable[object]) -> Problem | None:
        """What a call complains about; None if it does not."""
        try:
            await what
        except grpc.aio.AioRpcError as error:
            return problem_of(error)
        return None

    async def orders(self) -> list[orders_pb2.Order]:
        """All of them, newest first."""
        request = control_pb2.ListOrdersRequest(limit=MOST_ORDERS)
        return list((await self.control.ListOrders(request, metadata=self.as_bot("operator"))).orders)

    async def order(self, order_id: str) -> orders_pb2.Order:
        (order,) = [order for order in await self.orders() if order.order_id == order_id]
        return order

    async def state(self, order_id: str) -> str:
        return state_of(await self.order(order_id))

    async def status(self) -> control_pb2.AccountStatus:
        answer = await self.control.GetStatus(control_pb2.GetStatusRequest(), metadata=self.as_bot("operator"))
        return answer.accounts[0]

    async def profit(self) -> Decimal:
        """What the orders say that was won or lost."""
        return sum((Decimal(order.profit or 0) for order in await self.orders()), Decimal(0))

    async def took_s(self, holds: Callable[[], Coroutine[Any, Any, bool]], most_s: float) -> float:
        """How long it takes until something holds; ``most_s`` if it never does."""
        began_s = self.clock.now_s()
        while not await holds() and self.clock.now_s() - began_s < most_s:
            await self.clock.sleep(0.5)
        return self.clock.now_s() - began_s


@asynccontextmanager
async def virtual_gateway(
    folder: Path,
    dialect: Dialect = Dialect.OPTIONS,
    *,
    bots: Iterable[Frame] = (),
    account: Frame | None = None,
    ahead_s: float = 0.0,
    currency: str = "USD",
    **simulator: Any,
) -> AsyncGenerator[VirtualGateway, None]:
    """A gateway that serves, in a test that runs on virtual time.

    Its bots are one and two unless ``bots`` says otherwise. Its clock is ``ahead_s`` ahead of Deriv's. The
    account at Deriv holds ``currency``. ``simulator`` are the simulator's settings.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, Loop), "mark the test with virtual_time"
    symbols = ["1HZ100V", "R_100"]
    listed = list(bots) or [{"name": "one", "symbols": symbols}, {"name": "two", "symbols": symbols}]
    eager: Frame = {"strategy": "digit_frequency", "symbols": ["1HZ100V"], "parameters": EAGER}
    fleet = {
        "fleet": "test",
        "accounts": [{"key": "demo", **(account or {})}],
        "bots": [{**eager, **bot} for bot in listed],
    }
    deriv = Deriv(dialect, WrongClock(loop.timeline, 0), simulator)
    deriv.account.currency = currency
    gateway = VirtualGateway(folder, loop.timeline, deriv, fleet, ahead_s)
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.end()

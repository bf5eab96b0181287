"""A gateway and its bots before the simulator's exchange: one process, no sockets, virtual time.

A test speaks to the gateway over its gRPC services, decides how far the clocks of gateway and Deriv are apart, and may
change every frame between the two. Minutes take milliseconds. All that names the gateway's own rooms is in this file.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, cast
from unittest.mock import patch

import grpc
import yaml
from websockets.exceptions import ConnectionClosedError

from derivfleet.bot import __main__ as bot_main
from derivfleet.bot import gateway as bots_gateway
from derivfleet.bot import strategies
from derivfleet.bot.settings import BotSettings
from derivfleet.common.clock import NS_PER_S
from derivfleet.common.fleet import load_fleet
from derivfleet.common.rpc.channel import bearer
from derivfleet.common.rpc.identity import Identity, Role, set_caller
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
from derivfleet.simulator.core.effects import Close, Freeze, Send
from derivfleet.simulator.core.exchange import Credentials, Exchange
from derivfleet.simulator.core.faults import FaultKind, FaultRule
from derivfleet.simulator.core.settings import SimulatorSettings
from derivfleet.v1 import control_pb2, control_pb2_grpc, orders_pb2, trading_pb2, trading_pb2_grpc
from tests.sim.virtual import Loop, Timeline, VirtualClock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Sequence
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection

    from derivfleet.bot.core.decisions import Decision
    from derivfleet.common.clock import Clock
    from derivfleet.common.strategies import StrategyParameters
    from derivfleet.deriv.ticks import Tick
    from derivfleet.simulator.core.account_ledger import Account
    from derivfleet.simulator.core.contracts import Contract
    from derivfleet.simulator.core.effects import Effect

__all__ = [
    "DIGITS",
    "EAGER",
    "TIMED",
    "Deriv",
    "Frame",
    "Socket",
    "VirtualGateway",
    "state_of",
    "virtual_gateway",
    "virtual_time",
]

P = ParamSpec("P")
Frame = dict[str, Any]
TOKEN = "token-of-a-test"
APP_IDS = {Dialect.OPTIONS: "testApp", Dialect.LEGACY: "12345"}
ABNORMAL = 1006
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


def virtual_time(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    """Run a test in a loop that never waits: time goes on when nothing else is to be done."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=lambda: Loop(Timeline())) as runner:
            runner.run(test(*args, **kwargs))

    return run


def state_of(order: orders_pb2.Order) -> str:
    """The state's name as people write it: confirmed, not_found …"""
    return orders_pb2.OrderState.Name(order.state).removeprefix("ORDER_STATE_").lower()


class WrongClock(VirtualClock):
    """A clock that is ahead of the true time, or behind it if ``ahead_s`` is negative."""

    def __init__(self, timeline: Timeline, ahead_s: float) -> None:
        super().__init__(timeline)
        self.ahead_s = ahead_s

    def now_ns(self) -> int:
        return super().now_ns() + round(self.ahead_s * NS_PER_S)

    def now_s(self) -> float:
        return self.now_ns() / NS_PER_S

    async def sleep_until_ns(self, time_ns: int) -> None:
        await super().sleep_until_ns(time_ns - round(self.ahead_s * NS_PER_S))


class Deriv:
    """The simulator's exchange, and the wire between it and the gateway."""

    def __init__(self, dialect: Dialect, clock: WrongClock, settings: Frame) -> None:
        self.dialect = dialect
        self.clock = clock
        self.exchange = Exchange(
            "virtual",
            Credentials(TOKEN, APP_IDS[dialect]),
            SimulatorSettings.model_validate(settings),
            clock.now_ns() // NS_PER_S,
        )
        self.sent: list[Frame] = []
        """What the gateway has sent."""
        self.on_request: Callable[[Frame, Socket], Frame | None] = lambda frame, _: frame
        """Changes what the gateway sends; what is None does not arrive."""
        self.on_answer: Callable[[Frame, Socket], Frame | list[Frame] | None] = lambda frame, _: frame
        """Changes what Deriv sends, answers and news alike."""
        self.is_away = False
        """Whether nobody gets a new socket."""
        self.logins = 0
        self.sockets: dict[int, Socket] = {}
        """The gateway's that are open."""
        self._late: set[asyncio.TimerHandle] = set()

    @property
    def account(self) -> Account:
        """The truth about the account: its balance, movements and contracts."""
        return self.exchange.options_account if self.dialect is Dialect.OPTIONS else self.exchange.legacy_account

    def contract(self, contract_id: int) -> Contract:
        return self.account.contracts[contract_id]

    def fault(self, kind: str, call: str | None = None, *, count: int | None = 1, **more: Any) -> None:
        """Let something go wrong with a call."""
        named = None if call is None else Call(call)
        self.exchange.faults.add(FaultRule(FaultKind(kind), named, count=count, **more))

    def calls(self, name: str) -> list[Frame]:
        """The frames of one call that the gateway has sent."""
        return [frame for frame in self.sent if name in frame]

    def cut(self) -> None:
        """End all sockets without a word."""
        for socket in list(self.sockets.values()):
            socket.abort()

    def buy_elsewhere(self, count: int = 1, stake: str = "50", **terms: Any) -> list[int]:
        """Another program buys on the account; returns the contracts."""
        known = set(self.account.contracts)
        now_ns = self.clock.now_ns()
        connection = self.exchange.connect(self.dialect, "elsewhere", "elsewhere", now_ns, self.account.loginid)
        full = {"contract_type": "DIGITEVEN", "symbol": "1HZ100V", "duration": 1, "duration_unit": "t", **terms}
        if self.dialect is Dialect.OPTIONS:
            full["underlying_symbol"] = full.pop("symbol")
        for number in range(count):
            parameters = {"currency": self.account.currency, "amount": float(stake), "basis": "stake", **full}
            frame = {"buy": "1", "price": float(stake), "parameters": parameters, "req_id": number + 1}
            self._carry_out(self.exchange.receive(connection.number, json.dumps(frame), now_ns))
        self.exchange.disconnect(connection.number)
        return [number for number in self.account.contracts if number not in known]

    # The wire

    def open(self) -> Socket:
        account = self.account.loginid if self.dialect is Dialect.OPTIONS else None
        app_id, now_ns = APP_IDS[self.dialect], self.clock.now_ns()
        connection = self.exchange.connect(self.dialect, app_id, "gateway", now_ns, account)
        self.logins += 1
        socket = self.sockets[connection.number] = Socket(self, connection.number, self.logins)
        return socket

    def take(self, socket: Socket, text: str) -> None:
        frame: Frame = json.loads(text)
        self.sent.append(frame)
        changed = self.on_request(frame, socket)
        if changed is not None:
            self._carry_out(self.exchange.receive(socket.number, json.dumps(changed), self.clock.now_ns()))

    def gone(self, socket: Socket) -> None:
        self.exchange.disconnect(socket.number)
        self.sockets.pop(socket.number, None)

    async def pass_time(self) -> None:
        """Let the exchange's seconds pass, for ever."""
        while True:
            now_s = self.clock.now_ns() // NS_PER_S
            self._carry_out(self.exchange.advance(now_s))
            await self.clock.sleep_until_ns((now_s + 1) * NS_PER_S)

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            socket = self.sockets.get(effect.connection)
            if socket is None:
                continue
            match effect:
                case Send(text=text, delay_s=delay_s) if delay_s:
                    asyncio.get_running_loop().call_later(delay_s, self._deliver, socket, text)
                case Send(text=text):
                    self._deliver(socket, text)
                case Close():
                    socket.abort()
                case Freeze():
                    socket.is_silent = True

    def _deliver(self, socket: Socket, text: str) -> None:
        try:
            frame: Frame = json.loads(text)
        except ValueError:
            socket.put(text)
            return
        changed = self.on_answer(frame, socket)
        for one in changed if isinstance(changed, list) else [changed]:
            if one is not None:
                socket.say(one)


class Socket:
    """What a websocket is to its client. ``ordinal`` counts the gateway's sockets from 1."""

    def __init__(self, deriv: Deriv, number: int, ordinal: int) -> None:
        self.number = number
        self.ordinal = ordinal
        self.close_code: int | None = None
        self.transport = self
        self.is_silent = False
        self._deriv = deriv
        self._inbox: asyncio.Queue[str | None] = asyncio.Queue()

    def __aiter__(self) -> Socket:
        return self

    async def __anext__(self) -> str:
        text = await self._inbox.get()
        if text is None:
            raise StopAsyncIteration
        return text

    async def send(self, text: str) -> None:
        if self.close_code is not None:
            raise ConnectionClosedError(None, None)
        if not self.is_silent:
            self._deriv.take(self, text)

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if self.close_code is None:
            self.close_code = ABNORMAL
            self._inbox.put_nowait(None)
            self._deriv.gone(self)

    def say(self, frame: Frame) -> None:
        """Deriv sends a frame."""
        self.put(json.dumps(frame))

    def put(self, text: str) -> None:
        if not self.is_silent:
            self._inbox.put_nowait(text)


class _Login:
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


# gRPC without a network


class _Context:
    """What gRPC gives a method beside its request."""

    def __init__(self, deadline_s: float | None, metadata: Iterable[tuple[str, str]]) -> None:
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        """The messages of a stream."""
        self._deadline_s = deadline_s
        self._metadata = tuple(metadata)

    def time_remaining(self) -> float | None:
        return self._deadline_s

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    async def send_initial_metadata(self, _metadata: object) -> None:
        """There is nobody to hear of it."""

    async def write(self, message: object) -> None:
        self.sent.put_nowait(message)

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: Any = ()) -> NoReturn:
        raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing_metadata), details)


class _Stream:
    """A call that is answered with many messages."""

    def __init__(self, method: Callable[..., Any], request: object, context: _Context, caller: Identity) -> None:
        self._context = context
        self._task = asyncio.create_task(_as_caller(caller, self._run(method, request)))
        self._task.add_done_callback(lambda _: context.sent.put_nowait(self))

    async def _run(self, method: Callable[..., Any], request: object) -> None:
        answer = method(request, self._context)
        if hasattr(answer, "__aiter__"):
            async for message in answer:
                await self._context.write(message)
        else:
            await answer

    def __aiter__(self) -> _Stream:
        return self

    async def __anext__(self) -> Any:
        message = await self._context.sent.get()
        if message is not self:
            return message
        if not self._task.cancelled():
            self._task.result()
        raise StopAsyncIteration

    def cancel(self) -> None:
        self._task.cancel()


class Channel:
    """Carries calls to servicers in the same process. The bearer of a token is the name before its first dot."""

    def __init__(self, gateway: VirtualGateway) -> None:
        self._gateway = gateway

    def unary_unary(self, path: str, *_: object, **__: object) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def call(request: object, timeout: float | None = None, metadata: Any = (), **_: object) -> Any:  # noqa: ASYNC109 - as gRPC has it
            context = _Context(timeout, metadata)
            work = asyncio.ensure_future(_as_caller(_bearer(metadata), self._gateway.method(path)(request, context)))
            try:
                async with asyncio.timeout(timeout):
                    return await asyncio.shield(work)
            except TimeoutError:
                work.cancel()
                code = grpc.StatusCode.DEADLINE_EXCEEDED
                raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "deadline") from None
            except asyncio.CancelledError:
                work.cancel()
                raise

        return call

    def unary_stream(self, path: str, *_: object, **__: object) -> Callable[..., _Stream]:
        def call(request: object, metadata: Any = (), **_: object) -> _Stream:
            return _Stream(self._gateway.method(path), request, _Context(None, metadata), _bearer(metadata))

        return call

    async def close(self) -> None:
        """Holds nothing."""


def _bearer(metadata: Iterable[tuple[str, str]]) -> Identity:
    name = dict(metadata)["authorization"].removeprefix("Bearer ").partition(".")[0]
    return Identity(name=name, role=Role.OPERATOR if name == "operator" else Role.BOT)


async def _as_caller(caller: Identity, call: Awaitable[Any]) -> Any:
    set_caller(caller)
    return await call


# The gateway


class VirtualGateway:
    """One gateway with the account ``demo`` and its bots, before one Deriv."""

    def __init__(self, folder: Path, timeline: Timeline, deriv: Deriv, fleet: Frame, ahead_s: float) -> None:
        self.deriv = deriv
        self.clock = WrongClock(timeline, ahead_s)
        self._channel = cast("grpc.aio.Channel", Channel(self))
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
            self._fleet.accounts[0], self._fleet, settings, clock, telemetry, feed, _Login(self.deriv, clock)
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

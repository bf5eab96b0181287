"""Deriv: the simulator's exchange, and the sockets between it and the gateway, whose every frame can be changed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from websockets.exceptions import ConnectionClosedError

from derivfleet.common.clock import NS_PER_S
from derivfleet.deriv.vocabulary import Call, Dialect
from derivfleet.simulator.core.effects import Close, Freeze, Send
from derivfleet.simulator.core.exchange import Credentials, Exchange
from derivfleet.simulator.core.faults import FaultKind, FaultRule
from derivfleet.simulator.core.settings import SimulatorSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from derivfleet.simulator.core.account_ledger import Account
    from derivfleet.simulator.core.contracts import Contract
    from derivfleet.simulator.core.effects import Effect
    from tests.virtual_gateway.clock import WrongClock

__all__ = ["APP_IDS", "TOKEN", "Deriv", "Frame", "Socket"]

Frame = dict[str, Any]
TOKEN = "token-of-a-test"
APP_IDS = {Dialect.OPTIONS: "testApp", Dialect.LEGACY: "12345"}
ABNORMAL = 1006


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

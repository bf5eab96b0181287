"""The network between the gateway and the exchange: frames take time, sockets die, and each frame's order is known."""

from __future__ import annotations

import asyncio
import json
import random
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from websockets.exceptions import ConnectionClosedError

from derivfleet.connection.connection import AnswerLostError, CallRefusedError, Connection
from derivfleet.connection.login import AccountFacts, CredentialError, LoginError
from derivfleet.deriv import requests
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.vocabulary import Call, Dialect
from derivfleet.simulator.core.effects import Close, Freeze, Send
from tests.sim.plan import HOLLOW, SEVERED, WRONG_RECEIPTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from websockets.asyncio.client import ClientConnection

    from derivfleet.common.clock import Clock
    from derivfleet.simulator.core.effects import Effect
    from tests.sim.gateway_life import GatewayLife
    from tests.sim.world import World

__all__ = ["ASKED_FOR", "EXIT", "LEASE", "MAY_BUY", "Network", "SimulatedLogin", "SimulatedSocket"]

ASKED_FOR: ContextVar[str] = ContextVar("asked_for", default="")
"""Whose order a task works on: every frame that it sends can be told by it, whatever the gateway believes."""
EXIT: ContextVar[str] = ContextVar("exit", default="")
"""For which exit of that order."""
LEASE: ContextVar[Callable[[], bool]] = ContextVar("lease")
"""Whether the replica that asked holds the symbol still, by the gateway."""
MAY_BUY: ContextVar[Callable[[], bool]] = ContextVar("may_buy")
"""The same, as seen from outside."""
NOWHERE = 8_000_000
"""Contracts from here on do not exist."""
ABRUPT, GOING_AWAY, NORMAL = 1006, 1001, 1000


class SimulatedSocket:
    """One socket, as its client has it."""

    def __init__(self, life: GatewayLife, network: Network, number: int) -> None:
        self.number = number
        self.close_code: int | None = None
        self.transport = self
        self.frozen = False
        self._life = life
        self._network = network
        self._random = random.Random(f"wire/{network.seed}/{number}")
        self._inbox: asyncio.Queue[str | None] = asyncio.Queue()
        self._ended = asyncio.Event()
        self._up_ns = self._down_ns = 0
        self._handling = False

    # The client's side

    def __aiter__(self) -> SimulatedSocket:
        return self

    async def __anext__(self) -> str:
        if self._handling:
            self._handling = False
            self._life.point("after an answer is handled")
        text = await self._inbox.get()
        if text is None:
            raise StopAsyncIteration
        self._handling = _tells(text)
        if self._handling:
            self._life.point("before an answer is handled")
            self._life.world.heard(self._life, self.number, text)
        return text

    async def send(self, text: str) -> None:
        if self.close_code is not None:
            raise ConnectionClosedError(None, None)
        order_id = ASKED_FOR.get()
        if order_id:
            self._life.point("before a frame is handed over")
        is_cut = self._network.hand_over(self, text, order_id)
        if order_id:
            self._life.point("after a frame is handed over")
        if is_cut:
            raise ConnectionClosedError(None, None)

    async def close(self) -> None:
        """Say goodbye: what the other side has sent before it hears of that still comes."""
        if self.close_code is None:
            self._network.timeline.at(self.upward_ns(), lambda: self._network.goodbye(self))
            try:
                async with asyncio.timeout(1):
                    await self._ended.wait()
            except TimeoutError:
                self.abort()

    def abort(self) -> None:
        if self.close_code is None:
            self.end(ABRUPT)
            self._network.timeline.at(self.upward_ns(), lambda: self._network.gone(self))

    def sever(self) -> None:
        """It ends on this side at once; what was handed over arrives all the same."""
        timeline = self._network.timeline
        self._life.world.reads.disturbed()
        timeline.after(self._random.uniform(0, 0.06), lambda: self.end(ABRUPT))
        timeline.at(self.upward_ns(), lambda: self._network.gone(self))

    # The network's side

    def of(self, life: GatewayLife) -> bool:
        """Whether it is this life's."""
        return self._life is life

    def upward_ns(self, detour_s: float = 0.0) -> int:
        travel_ns = self._random.randint(5_000_000, 60_000_000) + round(detour_s * 1e9)
        self._up_ns = max(self._up_ns, self._network.timeline.now_ns + travel_ns)
        return self._up_ns

    def upward(self, text: str, order_id: str, exit_id: str, detour_s: float) -> None:
        self._network.timeline.at(self.upward_ns(detour_s), lambda: self._network.arrive(self, text, order_id, exit_id))

    def downward(self, text: str | None, delay_s: float, code: int = 0) -> None:
        """A frame on its way to the client, or the end of the socket behind all frames."""
        timeline = self._network.timeline
        arrival_ns = timeline.now_ns + self._random.randint(5_000_000, 60_000_000) + round(delay_s * 1e9)
        if delay_s == 0:
            self._down_ns = arrival_ns = max(self._down_ns, arrival_ns)
        if text is None:
            timeline.at(arrival_ns, lambda: self.end(code))
        else:
            timeline.at(arrival_ns, lambda: self._deliver(text))

    def _deliver(self, text: str) -> None:
        if self.close_code is None and not self._life.dead:
            self._inbox.put_nowait(text)

    def end(self, code: int) -> None:
        """The client learns that the socket has ended."""
        if self.close_code is None and not self._life.dead:
            self._life.world.reads.disturbed()
            self.close_code = code
            self._inbox.put_nowait(None)
            self._ended.set()


def _tells(text: str) -> bool:
    return '"msg_type":"tick"' not in text and '"msg_type":"ping"' not in text and '"msg_type":"balance"' not in text


class Network:
    """All sockets, and the faults that hit the frames of orders."""

    def __init__(self, world: World) -> None:
        self.seed = world.plan.seed
        self.timeline = world.timeline
        self._world = world
        self.exchange = world.exchange
        self._wires: dict[int, SimulatedSocket] = {}

    def open(self, life: GatewayLife) -> SimulatedSocket:
        """A socket of the account is open at the exchange."""
        account = self.exchange.options_account.loginid
        connection = self.exchange.connect(Dialect.OPTIONS, "app", "gateway", self.timeline.now_ns, account)
        wire = self._wires[connection.number] = SimulatedSocket(life, self, connection.number)
        return wire

    @property
    def is_frozen(self) -> bool:
        """Whether a socket is silent that its client holds on to."""
        return any(wire.frozen and wire.close_code is None for wire in self._wires.values())

    def hand_over(self, wire: SimulatedSocket, text: str, order_id: str) -> bool:
        """A frame has left the gateway; returns whether the gateway is told that it could not be sent."""
        exit_id = EXIT.get()
        if not wire.frozen:
            if order_id:
                self._world.frame_left(text, order_id, exit_id)
            self._world.reads.asked(wire.number, text, order_id, exit_id)
            self._world.liveness.asked(wire.number, text, order_id)
        wire.upward(text, order_id, exit_id, self._world.detour_s(text, order_id))
        if order_id and self._world.is_planned(SEVERED, text, order_id):
            self._world.hit(order_id, SEVERED)
            wire.sever()
            return self._world.plans[order_id].number % 2 == 0
        return False

    def arrive(self, wire: SimulatedSocket, text: str, order_id: str, exit_id: str) -> None:
        """A frame has come to the exchange."""
        if wire.number not in self.exchange.connections or wire.frozen:
            return
        with self._world.fault_for(wire, text, order_id) as kind:
            effects = self.exchange.receive(wire.number, text, self.timeline.now_ns)
        if kind == HOLLOW:
            effects = [_hollow(effect, self._world.plans[order_id].number) for effect in effects]
        if kind in WRONG_RECEIPTS:
            effects = [self._misnamed(effect, text, order_id) for effect in effects]
        self._world.executed(text, order_id, exit_id)
        self.carry_out(effects)

    def _misnamed(self, effect: Effect, asked: str, order_id: str) -> Effect:
        """A receipt for a contract that does not exist."""
        frame: dict[str, Any] = json.loads(effect.text) if isinstance(effect, Send) else {}
        if (frame.get("msg_type"), frame.get("req_id")) != ("buy", json.loads(asked)["req_id"]):
            return effect  # what was held back until now, for another
        contract_id = NOWHERE + len(self._world.misnamed)
        self._world.misnamed[contract_id] = order_id
        stake, now_s = str(self._world.plans[order_id].terms.stake), self.timeline.now_ns // 10**9
        receipt = {"transaction_id": contract_id + 1, "buy_price": stake, "payout": stake, "purchase_time": now_s}
        receipt |= {"start_time": now_s, "balance_after": "1000.00", "longcode": "", "shortcode": ""}
        told = {name: value for name, value in frame.items() if name != "error"}
        text = json.dumps({**told, "buy": {**receipt, **frame.get("buy", {}), "contract_id": contract_id}})
        return replace(cast("Send", effect), text=text)

    def carry_out(self, effects: Iterable[Effect]) -> None:
        """What the exchange wants done on sockets."""
        for effect in effects:
            wire = self._wires.get(effect.connection)
            match effect:
                case Send(text=text) if self._world.is_hidden(text):
                    pass
                case Send(text=text, delay_s=delay_s) if wire is not None:
                    wire.downward(text, delay_s)
                case Freeze() if wire is not None:
                    wire.frozen = True
                    self._world.reads.disturbed()
                case Close(connection=number, code=code, abrupt=abrupt):
                    self.exchange.disconnect(number)
                    ended = self._wires.pop(number, None)
                    self._world.reads.disturbed()
                    if ended is not None and not ended.frozen:
                        ended.downward(None, 0, ABRUPT if abrupt else code)
                case _:
                    pass

    def goodbye(self, wire: SimulatedSocket) -> None:
        """The client's close has come."""
        if not wire.frozen:
            self.gone(wire)
            wire.downward(None, 0, NORMAL)

    def gone(self, wire: SimulatedSocket) -> None:
        """The exchange notices that a socket is gone; one that was frozen only when it has been idle for long."""
        if not wire.frozen:
            self.exchange.disconnect(wire.number)
            self._wires.pop(wire.number, None)

    def drop_all(self, life: GatewayLife) -> None:
        """The gateway has died: its sockets end behind the frames that it had handed over."""
        for wire in list(self._wires.values()):
            if wire.of(life):
                self.timeline.at(wire.upward_ns(), lambda wire=wire: self.gone(wire))


def _hollow(effect: Effect, number: int) -> Effect:
    """A receipt with nothing in it, or of no type, or with an error that nobody can read."""
    if not isinstance(effect, Send):
        return effect
    frame: dict[str, Any] = json.loads(effect.text)
    name: str = frame.get("msg_type", "")
    if name not in ("buy", "sell"):
        return effect
    match number % 3:
        case 0:
            frame |= {name: {}}
        case 1:
            frame = {**frame, "msg_type": None, name: {}}
        case _:
            frame = {**frame, "error": "what?", name: {}}
    return replace(effect, text=json.dumps(frame))


class SimulatedLogin:
    """The way in: as the options API's, without HTTP."""

    login_calls = (Call.BALANCE,)

    def __init__(self, life: GatewayLife, network: Network, clock: Clock) -> None:
        self.codec = dialect(Dialect.OPTIONS)
        self._life = life
        self._network = network
        self._clock = clock

    async def connect(self, name: str) -> tuple[Connection, AccountFacts]:
        exchange = self._network.exchange
        await self._clock.sleep(0.05)
        if exchange.faults.on_login():
            self._life.world.hit_all("refuse_login")
            self._life.world.reads.refused()
            raise CredentialError("DERIV_TOKEN", "Deriv answered 401 Unauthorized")
        if exchange.faults.on_handshake():
            self._life.world.hit_all("refuse_handshake")
            self._life.world.reads.refused()
            raise LoginError("the WebSocket handshake was refused: 401")
        account = exchange.options_account
        if not exchange.has_room(account.loginid):  # silent sockets count for two minutes
            self._life.world.reads.refused()
            raise LoginError("the WebSocket handshake was refused: 429")
        wire = self._network.open(self._life)
        connection = Connection(name, cast("ClientConnection", wire), self.codec, self._clock)
        try:
            balance = self.codec.decode_balance(await connection.call(requests.Balance(balance=1), 30.0))
        except (AnswerLostError, CallRefusedError) as error:
            await connection.close()
            raise LoginError(f"the first call failed: {error}") from None
        return connection, AccountFacts(balance.loginid, balance.currency, balance.balance, is_demo=True)

    async def close(self) -> None:
        """Nothing is held between entries."""

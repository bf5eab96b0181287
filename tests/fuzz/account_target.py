"""A whole account of the gateway, in virtual time, against the simulator's exchange: one answer of it is broken."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

from derivfleet.common.clock import ManualClock
from derivfleet.common.fleet import Fleet
from derivfleet.common.telemetry import Telemetry
from derivfleet.connection.connection import Connection
from derivfleet.connection.login import AccountFacts
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.vocabulary import Call, Dialect
from derivfleet.gateway.account.account import AccountRoom
from derivfleet.gateway.core.orders.denials import DeniedError
from derivfleet.gateway.core.orders.order import FINAL, OrderTerms
from derivfleet.gateway.journal.feed import Feed
from derivfleet.gateway.journal.journal import Journal
from derivfleet.gateway.settings import GatewaySettings
from derivfleet.simulator.core.effects import Close, Send
from derivfleet.simulator.core.exchange import Credentials, Exchange
from derivfleet.simulator.core.settings import SimulatorSettings
from tests.fuzz import corpus
from tests.fuzz.memory_socket import Socket
from tests.fuzz.mutators import broken_bytes, broken_json, garbage
from tests.fuzz.targets import GARBAGE_SHARE, WrongError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from websockets.asyncio.client import ClientConnection

    from derivfleet.simulator.core.effects import Effect

__all__ = ["AccountTarget"]

APP_ID, TOKEN = "fuzz", "a1-TOKEN"
KINDS = (
    "buy",
    "buy",
    "buy",
    "transaction",
    "transaction",
    "statement",
    "tick",
    "balance",
    "ping",
    "proposal_open_contract",
)
"""Whose next answer or message is replaced."""
PATIENCE_S = 150
"""Of virtual time, for an order to end: 15 s for its answer, 30 s of reading records, and what errors add to that."""
CASES_AN_ACCOUNT = 100
TERMS = OrderTerms("DIGITOVER", "1HZ100V", Decimal("0.35"), 1, "t", "4")


class _BrokenDeriv:
    """The exchange and its sockets; it is also the login."""

    codec = dialect(Dialect.OPTIONS)
    login_calls = (Call.BALANCE,)

    def __init__(self, clock: ManualClock) -> None:
        settings = SimulatorSettings(start_balance=Decimal(100_000_000))
        self.clock = clock
        self.exchange = Exchange("fuzz", Credentials(TOKEN, APP_ID), settings, int(clock.now_s()))
        self.kind, self.broken = "", b""
        self._sockets: dict[int, Socket] = {}

    async def connect(self, name: str) -> tuple[Connection, AccountFacts]:
        account = self.exchange.options_account
        number = self.exchange.connect(Dialect.OPTIONS, APP_ID, "10.0.0.1", self.clock.now_ns(), account.loginid).number
        socket = self._sockets[number] = Socket(lambda text: self._take(number, text), lambda: self._leave(number))
        connection = Connection(name, cast("ClientConnection", socket), self.codec, self.clock)
        return connection, AccountFacts(account.loginid, account.currency, account.balance, is_demo=True)

    async def close(self) -> None:
        for socket in list(self._sockets.values()):
            socket.abort()

    def advance(self) -> None:
        """Tell what has happened up to now."""
        self._carry_out(self.exchange.advance(int(self.clock.now_s())))

    def _take(self, number: int, text: str) -> None:
        self._carry_out(self.exchange.receive(number, text, self.clock.now_ns()))

    def _leave(self, number: int) -> None:
        self.exchange.disconnect(number)
        self._sockets.pop(number, None)

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            socket = self._sockets.get(effect.connection)
            if socket is None:
                continue
            if isinstance(effect, Send):
                socket.put(self._broken(effect.text))
            elif isinstance(effect, Close):
                socket.abort()

    def _broken(self, text: str) -> str:
        if not self.kind or f'"msg_type":"{self.kind}"' not in text:
            return text
        self.kind = ""
        req_id = text.rpartition('"req_id":')[2].partition(",")[0].strip("}")
        return self.broken.replace(b"4242424242", req_id.encode()).decode(errors="replace")


class AccountTarget:
    """An order is bought while one answer of Deriv's is something else. It ends all the same, and so does the next."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        self._room: AccountRoom | None = None
        self._journal: Journal | None = None
        self._clock = ManualClock()
        self._deriv = _BrokenDeriv(self._clock)
        self._cases = 0
        self._accounts = self._orders = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._leave())
        self._loop.close()
        self._folder.cleanup()

    def make(self, chance: Random) -> bytes:
        kind = chance.choice(KINDS)
        if chance.random() < GARBAGE_SHARE:
            return kind.encode() + b"\n" + garbage(chance)[:20_000]
        texts = [text for name, text in corpus.frames() if name is Dialect.OPTIONS]
        own = [text for text in texts if f'"msg_type":"{kind}"' in text]
        # Mostly an answer of the kind that is waited for, addressed to who waits.
        text = chance.choice(own if own and chance.random() < 0.8 else texts)
        head, _, tail = text.rpartition('"req_id":')
        if head and chance.random() < 0.9:
            text = f'{head}"req_id":4242424242{tail.lstrip("0123456789")}'
        broken = broken_json(chance, text, texts) if chance.random() < 0.9 else broken_bytes(chance, text.encode())
        return kind.encode() + b"\n" + broken

    def throw(self, case: bytes) -> None:
        self._loop.run_until_complete(self._throw(case))

    async def _throw(self, case: bytes) -> None:
        if self._room is None or self._cases >= CASES_AN_ACCOUNT:
            await self._leave()
            await self._come()
        self._cases += 1
        kind, _, self._deriv.broken = case.partition(b"\n")
        self._deriv.kind = kind.decode(errors="replace")
        try:
            await self._bought()
            self._deriv.kind = ""
            await self._bought()
        except BaseException:
            self._cases = CASES_AN_ACCOUNT
            raise

    async def _bought(self) -> None:
        """Buy once, and see the order to its end, if it was not refused before it was one."""
        room = self._room
        if room is None:
            raise WrongError("there is no account")
        self._orders += 1
        order_id = f"o-{self._orders}"
        deadline_ns = self._clock.now_ns() + 60 * 10**9
        buying = asyncio.ensure_future(room.orders.purchases.buy("one", order_id, TERMS, deadline_ns, "", lambda: True))
        for _ in range(PATIENCE_S):
            await self._clock.advance(1.0)
            self._deriv.advance()
            await self._clock.settle()
            order = room.orders.registry.find(order_id)
            if buying.done() and (order is None or order.state in FINAL):
                with suppress(DeniedError):
                    buying.result()
                return
        order = room.orders.registry.find(order_id)
        if order is not None and order.doubt:
            self._cases = CASES_AN_ACCOUNT  # a person has to decide, and until then the bot buys no more of the like
            return
        buying.cancel()
        raise WrongError(f"an order is {None if order is None else order.state} after {PATIENCE_S} s")

    async def _come(self) -> None:
        self._accounts += 1
        self._cases = 0
        self._clock = ManualClock()
        self._deriv = _BrokenDeriv(self._clock)
        bot = {"name": "one", "strategy": "digit_frequency", "symbols": ["1HZ100V"]}
        bot["parameters"] = {"side": "over", "barrier": 4, "window_ticks": 5}  # pyright: ignore[reportArgumentType]
        fleet = Fleet.model_validate({"accounts": [{"key": "demo", "dialect": "options"}], "bots": [bot]})
        path = Path(self._folder.name) / f"{self._accounts}.sqlite"
        facts = {"listen": "127.0.0.1:0", "fleet": path, "journal": path, "DERIV_TOKEN": TOKEN, "DERIV_APP_ID": APP_ID}
        settings = GatewaySettings.model_validate(facts)
        journal = self._journal = Journal(path, "JOURNAL")
        telemetry = Telemetry("gateway", self._clock)
        room = AccountRoom(fleet.accounts[0], fleet, settings, self._clock, telemetry, Feed(journal))
        room.pool.login = self._deriv
        room.recover()
        await room.start()
        await self._clock.advance(1.0)
        self._room = room

    async def _leave(self) -> None:
        room, journal = self._room, self._journal
        if room is None or journal is None:
            return
        self._room = self._journal = None  # also if it does not end in order: the next case has one of its own
        ending = asyncio.ensure_future(room.stop())
        try:
            while not ending.done():
                await self._clock.advance(1.0)
            ending.result()
        finally:
            journal.close()

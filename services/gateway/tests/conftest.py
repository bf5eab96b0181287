"""An account against a Deriv in memory: no sockets and virtual time, so that every order of events can be played."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from websockets.exceptions import ConnectionClosedError

from derivfleet.common.clock import ManualClock
from derivfleet.common.telemetry import Telemetry
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.limits import OPTIONS_LIMITS
from derivfleet.deriv.vocabulary import Call, Dialect
from derivfleet.gateway.core.collapse import Savings
from derivfleet.gateway.core.orders import OrderTerms, State
from derivfleet.gateway.core.schedule import Refusal, Schedule
from derivfleet.gateway.desk import Desk
from derivfleet.gateway.feeds import Feeds
from derivfleet.gateway.journal.feed import Feed
from derivfleet.gateway.journal.sqlite import Journal
from derivfleet.gateway.reads import Reads
from derivfleet.gateway.upstream.connection import Connection
from derivfleet.gateway.upstream.entrance import AccountFacts, EntryError
from derivfleet.gateway.upstream.line import Line
from derivfleet.gateway.upstream.pool import Pool
from derivfleet.gateway.upstream.turns import Turns

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection

    from derivfleet.common.clock import Clock

Frame = dict[str, Any]
CODEC = dialect(Dialect.OPTIONS)
CALLS = frozenset(str(call) for call in Call)


class Socket:
    """What a websocket is to its client."""

    def __init__(self, deriv: Deriv, name: str) -> None:
        self.name = name
        self.close_code: int | None = None
        self.transport = self
        self.mute = False
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
        self._deriv.take(self, json.loads(text))

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if self.close_code is None:
            self.close_code = 1006
            self._inbox.put_nowait(None)

    def put(self, text: str) -> None:
        if not self.mute:
            self._inbox.put_nowait(text)


class Deriv:
    """The other side. ``on`` replaces what it does with a call; ``sent`` is what it was asked, by socket."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.sockets: list[Socket] = []
        self.sent: list[tuple[Socket, Frame]] = []
        self.on: dict[str, Callable[[Socket, Frame], None]] = {}
        self.refuses_entry: Exception | None = None
        self.purchases: list[Frame] = []
        self.sales: list[Frame] = []
        """Rows of the statement, newest first."""
        self._numbers = iter(range(1, 10**6))

    def calls(self, name: str) -> list[Frame]:
        return [frame for _, frame in self.sent if name in frame]

    def open_sockets(self, role: str) -> list[Socket]:
        return [socket for socket in self.sockets if socket.name.endswith(role) and socket.close_code is None]

    def take(self, socket: Socket, frame: Frame) -> None:
        self.sent.append((socket, frame))
        name = next(key for key in frame if key in CALLS)
        self.on.get(name, self.answer)(socket, frame)

    def answer(self, socket: Socket, frame: Frame) -> None:
        """What Deriv answers when nothing is wrong."""
        name = next(key for key in frame if key in CALLS)
        match name:
            case "buy":
                self.reply(socket, frame, "buy", self.bought(frame))
            case "statement":
                listed = self.purchases if frame["action_type"] == "buy" else self.sales
                rows = [row for row in listed if row["transaction_time"] <= frame["date_to"]]
                offset = frame.get("offset", 0)
                page = rows[offset : offset + frame["limit"]]
                self.reply(socket, frame, "statement", {"count": len(page), "transactions": page})
            case "ticks" | "transaction" | "balance" if frame.get("subscribe"):
                self.reply(socket, frame, "tick" if name == "ticks" else name, {}, stream=f"{next(self._numbers):036}")
            case _:
                self.reply(socket, frame, name, {})

    def bought(self, frame: Frame) -> Frame:
        """Carry a purchase out; the receipt."""
        number = next(self._numbers)
        terms = frame["parameters"]
        epoch_s = int(self.clock.now_s())
        self.purchases.insert(
            0,
            {
                "action_type": "buy",
                "contract_id": number,
                "transaction_id": number + 10**6,
                "amount": -terms["amount"],
                "balance_after": 1,
                "payout": 1,
                "transaction_time": epoch_s,
                "shortcode": f"DIGITOVER_1HZ100V_1.00_{epoch_s}_1T_4_0",
            },
        )
        return {
            "contract_id": number,
            "transaction_id": number + 10**6,
            "buy_price": terms["amount"],
            "payout": 1,
            "purchase_time": epoch_s,
            "start_time": epoch_s,
            "balance_after": 1,
            "longcode": "",
            "shortcode": "",
        }

    @staticmethod
    def reply(socket: Socket, frame: Frame, msg_type: str, body: object, stream: str = "") -> None:
        more = {"subscription": {"id": stream}} if stream else {}
        answer = {"msg_type": msg_type, "req_id": frame["req_id"], "echo_req": frame, msg_type: body, **more}
        socket.put(json.dumps(answer))

    @staticmethod
    def refuse(socket: Socket, frame: Frame, code: str) -> None:
        error = {"code": code, "message": "so it is"}
        socket.put(json.dumps({"msg_type": "x", "req_id": frame["req_id"], "echo_req": frame, "error": error}))


class Door:
    """The way into it."""

    codec = CODEC
    entry_calls = (Call.BALANCE,)

    def __init__(self, deriv: Deriv, clock: Clock) -> None:
        self._deriv = deriv
        self._clock = clock

    async def enter(self, name: str) -> tuple[Connection, AccountFacts]:
        if self._deriv.refuses_entry is not None:
            raise self._deriv.refuses_entry
        socket = Socket(self._deriv, name)
        self._deriv.sockets.append(socket)
        connection = Connection(name, cast("ClientConnection", socket), CODEC, self._clock)
        return connection, AccountFacts("DOT1", "USD", Decimal(1), is_demo=True)

    async def close(self) -> None:
        for socket in self._deriv.sockets:
            socket.abort()


class Account:
    """The gateway's parts for one account, wired as in the service."""

    def __init__(self, deriv: Deriv, clock: ManualClock, journal: Journal) -> None:
        self.spans = InMemorySpanExporter()
        telemetry = self.telemetry = Telemetry("gateway", clock, processors=[SimpleSpanProcessor(self.spans)])
        self.clock = clock
        self.deriv = deriv
        self.schedule = Schedule(OPTIONS_LIMITS, 1.0, {"one": 1.0, "two": 1.0})
        self.pool = Pool("demo", Door(deriv, clock), clock, self._count_entry)
        self.journal = journal
        turns = Turns(self.schedule, clock, lambda blocks: journal.write_blocks("demo", blocks))
        self.line = Line(self.pool, turns, clock, telemetry)
        self.has_lease = True
        self.desk = Desk(self.line, Feed(journal), telemetry, "USD")
        self.savings = Savings()
        self.feeds = Feeds(self.line, self.savings)
        self.reads = Reads(self.line, self.feeds, self.savings)

    def _count_entry(self, calls: tuple[Call, ...]) -> None:
        for call in calls:
            self.schedule.note(call, self.clock.now_ns())

    def fill(self, call: Call) -> None:
        """Leave no bot a call of this kind's bucket for a while; all that were made have just been answered."""
        now_ns = self.clock.now_ns()
        while not isinstance(ticket := self.schedule.ask("one", call, now_ns, now_ns), Refusal):
            self.schedule.dispatch(now_ns)
            self.schedule.landed(ticket, now_ns)

    async def started(self) -> None:
        await self.pool.start()
        await self.clock.advance(0.01)

    def buying(self, order_id: str, bot: str = "one", deadline_s: float = 30) -> asyncio.Task[Any]:
        terms = OrderTerms("DIGITOVER", "1HZ100V", Decimal("0.35"), 1, "t", "4")
        deadline_ns = self.clock.now_ns() + round(deadline_s * 1e9)
        return asyncio.ensure_future(self.desk.buy(bot, order_id, terms, deadline_ns, "", lambda: self.has_lease))

    def state(self, order_id: str) -> str:
        order = self.desk.find(order_id)
        return "" if order is None else order.state

    async def lose(self, order_id: str, *, bought: bool) -> None:
        """Buy and let the socket die instead of the answer."""

        def buy(socket: Socket, frame: Frame) -> None:
            if bought:
                self.deriv.bought(frame)
            socket.abort()

        self.deriv.on["buy"] = buy
        order, _ = await self.buying(order_id)
        assert order.state is State.UNKNOWN
        del self.deriv.on["buy"]

    def pushed(self, row: Frame, **change: Any) -> None:
        """The transaction stream tells of a purchase."""
        movement = {
            "action": "buy",
            "transaction_id": row["transaction_id"],
            "contract_id": row["contract_id"],
            "amount": str(row["amount"]),
            "balance": 1,
            "underlying_symbol": "1HZ100V",
            "transaction_time": row["transaction_time"],
            **change,
        }
        self.desk.on_transaction({"msg_type": "transaction", "transaction": movement})

    def shown(self, **change: Any) -> Callable[[Socket, Frame], None]:
        """Deriv shows a contract that was bought, open still."""

        def answer(socket: Socket, frame: Frame) -> None:
            (row,) = [row for row in self.deriv.purchases if row["contract_id"] == frame["contract_id"]]
            contract = {
                "contract_id": row["contract_id"],
                "is_sold": 0,
                "buy_price": str(-row["amount"]),
                "payout": "1.00",
                "purchase_time": row["transaction_time"],
                "transaction_ids": {"buy": row["transaction_id"]},
                "shortcode": row["shortcode"],
                **change,
            }
            self.deriv.reply(socket, frame, "proposal_open_contract", contract)

        return answer

    def sold(self) -> Callable[[Socket, Frame], None]:
        """Deriv shows a contract that has ended."""

        def answer(socket: Socket, frame: Frame) -> None:
            contract = {
                "contract_id": frame["contract_id"],
                "is_sold": 1,
                "sell_price": "0.68",
                "sell_time": 9,
                "buy_price": 1,
            }
            self.deriv.reply(socket, frame, "proposal_open_contract", contract)

        return answer


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[Account]]:
    """Make a connected account."""

    @asynccontextmanager
    async def make() -> AsyncGenerator[Account, None]:
        clock = ManualClock()
        journal = Journal(tmp_path / "journal.sqlite", "JOURNAL")
        account = Account(Deriv(clock), clock, journal)
        await account.started()
        try:
            yield account
        finally:
            account.reads.stop()
            await account.feeds.stop()
            await account.pool.close()
            await account.desk.close()
            journal.close()

    return make


__all__ = ["Account", "Deriv", "EntryError", "Socket", "opened"]

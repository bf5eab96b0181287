"""A probe's session at a Deriv in memory: its bounds, and what makes it stop."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest

from derivfleet.common.clock import NS_PER_S, ManualClock
from derivfleet.connection.connection import Connection
from derivfleet.connection.login import AccountFacts, CredentialError, LoginError, RealMoneyError
from derivfleet.deriv import requests
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.vocabulary import Call, Dialect
from derivfleet.probe.core.bounds import LOGIN_CALLS, Experiment, Step
from derivfleet.probe.session import AccountInUseError, BrokenOffError, Session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from websockets.asyncio.client import ClientConnection

CODEC = dialect(Dialect.OPTIONS)
PORTFOLIO = requests.Portfolio(portfolio=1)
CALLS = frozenset(str(call) for call in Call)


class Socket:
    """What a websocket is to its client; the other end answers everything, or refuses what it is told to."""

    def __init__(self) -> None:
        self.close_code: int | None = None
        self.transport = self
        self.asked: list[str] = []
        self.refuses: dict[str, str] = {}
        self.stream_req_id = 0
        self._inbox: asyncio.Queue[str | None] = asyncio.Queue()

    def __aiter__(self) -> Socket:
        return self

    async def __anext__(self) -> str:
        text = await self._inbox.get()
        if text is None:
            raise StopAsyncIteration
        return text

    async def send(self, text: str) -> None:
        frame = json.loads(text)
        call = next(key for key in frame if key in CALLS)
        self.asked.append(call)
        answer: dict[str, Any] = {"msg_type": call, "req_id": frame["req_id"], "echo_req": frame}
        if call in self.refuses:
            answer["error"] = {"code": self.refuses[call], "message": "so it is"}
        else:
            answer[call] = {}
        if call == "transaction":
            self.stream_req_id = frame["req_id"]
            answer["subscription"] = {"id": "1" * 32}
        self._inbox.put_nowait(json.dumps(answer))

    def move(self) -> None:
        """Somebody buys on the account."""
        movement = {
            "action": "buy",
            "transaction_id": 7,
            "contract_id": 5,
            "amount": -1,
            "balance": 9,
            "transaction_time": 1,
        }
        frame = {"msg_type": "transaction", "req_id": self.stream_req_id, "transaction": movement, "echo_req": {}}
        self._inbox.put_nowait(json.dumps(frame))

    async def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if self.close_code is None:
            self.close_code = 1006
            self._inbox.put_nowait(None)


class LoginInMemory:
    """A login. ``ends`` are what a login ends in, one each; after that they succeed."""

    codec = CODEC
    login_calls = (Call.BALANCE,)

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.sockets: list[Socket] = []
        self.ends: list[Exception] = []
        self.prepared: Socket | None = None
        self.facts = AccountFacts("DOT1", "USD", Decimal(1), is_demo=True)

    async def connect(self, name: str) -> tuple[Connection, AccountFacts]:
        if self.ends:
            raise self.ends.pop(0)
        self.sockets.append(self.prepared or Socket())
        return Connection(name, cast("ClientConnection", self.sockets[-1]), CODEC, self.clock), self.facts

    async def close(self) -> None:
        """Nothing is held."""


class House:
    """A session with its clock and its login."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.login = LoginInMemory(self.clock)
        self.waits: list[float] = []
        self.session = Session(self.login, self.clock, self.waits.append)

    async def begin(self, calls: int = 100, most_s: int = 600) -> Session:
        self.session.allow(Step(Experiment.WINDOW, "", calls, most_s, most_s))
        beginning = asyncio.ensure_future(self.session.begin())
        for _ in range(4):
            await self.clock.advance(2)
        await beginning
        return self.session


@pytest.fixture
async def house() -> AsyncGenerator[House, None]:
    one = House()
    yield one
    await one.session.end()


async def test_an_account_that_is_no_demo_one_is_left_at_once_whoever_let_it_in(house: House) -> None:
    house.login.facts = AccountFacts("CR1", "USD", Decimal(1), is_demo=False)
    with pytest.raises(RealMoneyError, match="CR1 is no demo account"):
        await house.begin()
    assert house.session.sockets == []
    assert house.session.facts is None
    assert house.login.sockets[0].asked == []
    assert house.login.sockets[0].close_code is not None


async def test_another_account_at_a_later_login_is_refused(house: House) -> None:
    session = await house.begin()
    house.login.facts = AccountFacts("DOT2", "USD", Decimal(1), is_demo=True)
    with pytest.raises(CredentialError, match="now belongs to DOT2, it was DOT1"):
        await session.connect()
    assert len(session.sockets) == 1


async def test_a_login_is_tried_three_times(house: House) -> None:
    house.login.ends = [LoginError("busy"), LoginError("busy")]
    session = await house.begin()
    assert len(session.sockets) == 1
    assert session.calls == 4, "three logins and the account's stream"


async def test_a_door_that_stays_shut_is_an_error(house: House) -> None:
    house.login.ends = [LoginError("busy")] * 3
    with pytest.raises(LoginError):
        await house.begin()


async def test_it_makes_no_more_calls_than_a_step_may(house: House) -> None:
    session = await house.begin(calls=5)
    for _ in range(5 + LOGIN_CALLS - 2):
        await session.ask(PORTFOLIO)
    with pytest.raises(BrokenOffError, match="more calls than it may"):
        await session.ask(PORTFOLIO)
    assert house.login.sockets[0].asked.count("portfolio") == 5 + LOGIN_CALLS - 2


async def test_it_takes_no_longer_than_a_step_may(house: House) -> None:
    session = await house.begin(most_s=30)
    await house.clock.advance(31)
    with pytest.raises(BrokenOffError, match="longer than it may"):
        await session.ask(PORTFOLIO)
    assert "portfolio" not in house.login.sockets[0].asked


async def test_a_call_says_when_it_was_and_what_it_came_to(house: House) -> None:
    session = await house.begin()
    reply = await session.ask(PORTFOLIO)
    assert (reply.code, reply.is_refused_for_rate, reply.frame is None) == ("", False, False)
    assert reply.sent_ns <= reply.answered_ns == session.last_call_ns["lists"]
    house.login.sockets[0].refuses["portfolio"] = "RateLimit"
    assert (await session.ask(PORTFOLIO)).is_refused_for_rate
    house.login.sockets[0].refuses["portfolio"] = "InternalServerError"
    refused = await session.ask(PORTFOLIO)
    assert (refused.code, refused.is_refused_for_rate) == ("InternalServerError", False)
    assert len(session.latencies_ms["portfolio"]) == 1, "a refusal is not an answer to be timed"


async def test_a_bucket_that_was_never_called_was_last_called_before_it_began(house: House) -> None:
    session = await house.begin()
    assert session.last_call_ns["lists"] == session.began_ns


async def test_a_movement_of_the_account_ends_it(house: House) -> None:
    session = await house.begin()
    house.login.sockets[0].move()
    await house.clock.settle()
    with pytest.raises(AccountInUseError, match="buy of -1"):
        await session.ask(PORTFOLIO)
    with pytest.raises(AccountInUseError):
        session.check()


async def test_a_long_wait_keeps_the_sockets_open_and_is_told(house: House) -> None:
    session = await house.begin()
    await session.connect()
    at_ns = house.clock.now_ns() + 70 * NS_PER_S
    waiting = asyncio.ensure_future(session.wait_until_ns(at_ns))
    for _ in range(80):
        await house.clock.advance(1)
    await waiting
    assert [socket.asked.count("ping") for socket in house.login.sockets] == [2, 2]
    assert [round(left_s) for left_s in house.waits] == [70, 45, 20]
    await session.wait_until_ns(at_ns)
    assert len(house.waits) == 3, "what has passed is not waited for"


async def test_a_socket_that_dies_in_a_wait_ends_the_experiment_if_it_is_needed(house: House) -> None:
    session = await house.begin()
    await session.connect()
    waiting = asyncio.ensure_future(session.wait_until_ns(house.clock.now_ns() + 60 * NS_PER_S))
    await house.clock.advance(1)
    house.login.sockets[1].abort()
    await house.clock.advance(26)
    assert not waiting.done()
    assert len(session.sockets) == 1
    with pytest.raises(BrokenOffError, match="a socket has closed"):
        await session.ask(PORTFOLIO, socket=1)
    house.login.sockets[0].abort()
    await house.clock.advance(40)
    with pytest.raises(BrokenOffError, match="the socket has closed"):
        await waiting


async def test_after_a_socket_has_died_it_comes_in_again(house: House) -> None:
    session = await house.begin()
    house.login.sockets[0].abort()
    await house.clock.settle()
    with pytest.raises(BrokenOffError, match="portfolio was not answered: ConnectionClosed"):
        await session.ask(PORTFOLIO)
    await house.begin()
    assert (await session.ask(PORTFOLIO)).code == ""
    assert house.login.sockets[1].asked[0] == "transaction"


async def test_an_account_that_cannot_be_watched_is_not_probed(house: House) -> None:
    session = await house.begin()
    house.login.sockets[0].abort()
    await house.clock.settle()
    opened = Socket()
    opened.refuses["transaction"] = "PermissionDenied"
    house.login.prepared = opened
    with pytest.raises(BrokenOffError, match="cannot be watched: PermissionDenied"):
        await house.begin()
    assert session.sockets

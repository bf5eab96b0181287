"""One socket over a real line: order, faults, idleness, rubbish, and its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.ticks import quotes
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.simulator.wire import session

if TYPE_CHECKING:
    from conftest import Service, Start

BOTH = pytest.mark.parametrize("dialect", Dialect)
ABNORMAL = 1006


def buy(dialect: Dialect, **change: Any) -> dict[str, Any]:
    parameters = {
        "contract_type": "CALL",
        "currency": "USD",
        "amount": 1,
        "basis": "stake",
        "duration": 2,
        "duration_unit": "t",
        "symbol" if dialect is Dialect.LEGACY else "underlying_symbol": "1HZ100V",
    }
    return {"buy": "1", "price": 1, "parameters": parameters | change}


@BOTH
async def test_a_trade_from_purchase_to_settlement(service: Service, dialect: Dialect) -> None:
    buyer, listener = await service.open(dialect), await service.open(dialect)
    await listener.ask(transaction=1, subscribe=1)
    receipt = await buyer.ask(**buy(dialect), subscribe=1)
    contract_id = receipt["buy"]["contract_id"]
    assert (await listener.frame())["transaction"]["contract_id"] == contract_id
    await service.clock.advance(3)
    states: list[Any] = []
    while not states or not states[-1]["is_sold"]:
        frame = await buyer.frame()
        assert frame["subscription"] == receipt["subscription"]
        assert frame["req_id"] == receipt["req_id"]
        states.append(frame["proposal_open_contract"])
    sold = (await listener.frame())["transaction"]
    assert (sold["action"], sold["contract_id"]) == ("sell", contract_id)
    start_s = receipt["buy"]["purchase_time"]
    entry, *_, exit_ = quotes("1", "1HZ100V", start_s + 1, start_s + 3)
    assert sold["amount"] == (receipt["buy"]["payout"] if exit_[1] > entry[1] else 0)
    assert sold["transaction_time"] == exit_[0]
    assert (await buyer.ask(balance=1))["balance"]["balance"] == sold["balance"] == 9999 + sold["amount"]


@BOTH
async def test_ticks_come_when_their_second_does(service: Service, dialect: Dialect) -> None:
    socket = await service.open(dialect)
    first = await socket.ask(ticks="1HZ10V", subscribe=1)
    for second in range(1, 4):
        await service.clock.advance(1)
        tick = (await socket.frame())["tick"]
        assert tick["epoch"] == first["tick"]["epoch"] + second


@BOTH
async def test_rates_are_refused_over_all_sockets_of_an_account(service: Service, dialect: Dialect) -> None:
    one, other = await service.open(dialect), await service.open(dialect)
    for _ in range(15):
        await one.ask(portfolio=1)
        await other.ask(portfolio=1)
    refused = await other.ask(portfolio=1)
    assert refused["error"] == {"code": "RateLimit", "message": "You have reached the rate limit for portfolio."}
    assert refused["msg_type"] == "portfolio"
    await service.clock.advance(60)
    assert "portfolio" in await one.ask(portfolio=1)


async def balance(service: Service, dialect: Dialect) -> int:
    socket = await service.open(dialect)
    return int((await socket.ask(balance=1))["balance"]["balance"])


@BOTH
@pytest.mark.parametrize(
    ("kind", "abrupt", "code", "left"),
    [
        ("drop_before", True, ABNORMAL, 10_000),
        ("drop_after", True, ABNORMAL, 9_999),
        ("drop_after", False, 1001, 9_999),
    ],
)
async def test_a_socket_dies_before_or_after_a_purchase(
    service: Service, dialect: Dialect, kind: str, abrupt: bool, code: int, left: int
) -> None:
    socket = await service.open(dialect)
    await service.fault(kind=kind, call="buy", count=1, abrupt=abrupt)
    await socket.send(**buy(dialect))
    assert await socket.end() == code
    assert await balance(service, dialect) == left


@BOTH
@pytest.mark.parametrize(("abrupt", "code"), [(True, ABNORMAL), (False, 1001)])
async def test_a_socket_dies_right_after_the_answer(
    service: Service, dialect: Dialect, abrupt: bool, code: int
) -> None:
    socket = await service.open(dialect)
    await service.fault(kind="drop_answered", call="buy", count=1, abrupt=abrupt)
    assert (await socket.ask(**buy(dialect)))["msg_type"] == "buy"
    assert await socket.end() == code


@BOTH
async def test_a_half_open_socket_says_nothing_until_it_is_cut_for_idleness(service: Service, dialect: Dialect) -> None:
    socket = await service.open(dialect)
    await service.fault(kind="half_open", call="buy", count=1)
    await socket.send(**buy(dialect))
    assert await balance(service, dialect) == 9_999
    await socket.send(**buy(dialect))
    with pytest.raises(TimeoutError):
        await socket.socket.receive(timeout=0.1)
    assert not socket.socket.closed
    assert await balance(service, dialect) == 9_999
    await service.clock.advance(120)
    assert await socket.end() == ABNORMAL


async def test_a_half_open_socket_does_not_keep_the_service_from_ending(start: Start) -> None:
    async with aiohttp.ClientSession() as client:
        async with start() as service:
            socket = await client.ws_connect(await service.otp_url())
            await service.fault(kind="half_open", call="ping")
            await socket.send_str('{"ping": 1}')
            while not any(connection.frozen for connection in service.exchange.connections.values()):
                await service.call("GET", "/health")
        assert (await socket.receive(timeout=60)).type is not aiohttp.WSMsgType.TEXT
        assert socket.close_code == ABNORMAL


@BOTH
async def test_a_slow_socket_keeps_its_order(service: Service, dialect: Dialect) -> None:
    socket = await service.open(dialect)
    await service.fault(kind="slow", call="ticks", count=1, delay_s=4)
    first = await socket.send(ticks="R_100")
    second = await socket.send(ping=1)
    while not any(connection.slow_s for connection in service.exchange.connections.values()):
        await service.call("GET", "/health")
    await service.clock.advance(3.9)
    with pytest.raises(TimeoutError):
        await socket.socket.receive(timeout=0.1)
    await service.clock.advance(0.2)
    assert [(await socket.frame())["req_id"] for _ in range(2)] == [first, second]


@BOTH
async def test_a_delayed_answer_lets_others_pass(service: Service, dialect: Dialect) -> None:
    socket = await service.open(dialect)
    await service.fault(kind="delay", call="buy", count=1, delay_s=7)
    late = await socket.send(**buy(dialect))
    assert (await socket.ask(balance=1))["balance"]["balance"] == 9_999
    await service.clock.advance(6.9)
    assert "pong" in (await socket.ask(ping=1))["ping"]
    await service.clock.advance(0.1)
    frame = await socket.frame()
    assert (frame["req_id"], frame["msg_type"]) == (late, "buy")


@BOTH
@pytest.mark.parametrize("kind", ["garbage", "bare"])
async def test_a_spoilt_answer(service: Service, dialect: Dialect, kind: str) -> None:
    socket = await service.open(dialect)
    await service.fault(kind=kind, call="buy", count=1)
    await socket.send(**buy(dialect))
    text = await socket.socket.receive_str(timeout=60)
    assert text.startswith('{"buy"' if kind == "bare" else "}")
    assert (await socket.ask(balance=1))["balance"]["balance"] == 9_999


@BOTH
@pytest.mark.parametrize("text", ["not json", "[1]"])
async def test_malformed_json_ends_the_socket(service: Service, dialect: Dialect, text: str) -> None:
    socket = await service.open(dialect)
    await socket.socket.send_str(text)
    assert await socket.end() == 1007


async def test_a_binary_frame_is_read_as_text(service: Service) -> None:
    socket = await service.options()
    await socket.socket.send_bytes(b'{"ping": 1, "req_id": 5}')
    assert (await socket.frame())["req_id"] == 5
    await socket.socket.send_bytes(b"\xff\xfe")
    assert await socket.end() == 1007


@BOTH
async def test_an_idle_socket_ends_after_two_minutes(service: Service, dialect: Dialect) -> None:
    idle, busy = await service.open(dialect), await service.open(dialect)
    await service.clock.advance(119)
    await busy.ask(ping=1)
    await service.clock.advance(1)
    assert await idle.end() == 1001
    await busy.ask(ping=1)


async def test_a_client_that_reads_nothing_is_cut(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_MOST_WAITING", 5)
    async with start() as service:
        socket = await service.options()
        # One request with thirteen answers, and five may wait.
        await socket.send(ticks=list(SYMBOLS))
        assert await socket.end() == ABNORMAL


async def test_the_end_of_the_service_says_goodbye(start: Start) -> None:
    async with aiohttp.ClientSession() as client:
        async with start() as service:
            socket = await client.ws_connect(await service.otp_url())
            waiting = asyncio.create_task(socket.receive(timeout=60))
            await service.call("GET", "/health")
        assert (await waiting).type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 1001

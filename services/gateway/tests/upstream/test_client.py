"""Calls and streams when sockets come, go and fall silent."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from derivfleet.common.clock import ManualClock
from derivfleet.common.redaction import hide
from derivfleet.connection.connection import AnswerLostError, CallRefusedError, Connection
from derivfleet.connection.login import LoginError
from derivfleet.deriv import requests
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.vocabulary import Call, Dialect
from derivfleet.gateway.core.orders.denials import DeniedError
from derivfleet.gateway.upstream.pool import ConnectionRole, SlotState
from derivfleet.gateway.upstream.streams import StandingStream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

    from conftest import Account, Socket
    from websockets.asyncio.client import ClientConnection

    Opened = Callable[[], AbstractAsyncContextManager[Account]]
Frame = dict[str, Any]
TRANSACTIONS = requests.Transaction(transaction=1, subscribe=1)


def ticking(socket: Socket, frame: Frame, *epochs: int) -> None:
    for epoch in epochs:
        tick = {"symbol": "R_100", "epoch": epoch, "quote": 1.5, "pip_size": 2}
        more = {"subscription": {"id": f"{frame['req_id']:036}"}}
        answer = {"msg_type": "tick", "req_id": frame["req_id"], "echo_req": frame, "tick": tick, **more}
        socket.put(json.dumps(answer))


async def test_a_silent_peer_is_given_up_and_replaced(opened: Opened) -> None:
    async with opened() as account:
        (socket,) = account.deriv.open_sockets("orders")
        socket.mute = True
        await account.clock.advance(36)
        assert socket.close_code is not None
        await account.clock.advance(2)
        assert len(account.deriv.open_sockets("orders")) == 1
        assert account.pool.slots[ConnectionRole.ORDERS].reconnects == 1


async def test_a_pong_that_makes_no_sense_does_not_end_the_pinging(opened: Opened) -> None:
    async with opened() as account:

        def pong(socket: Socket, frame: Frame) -> None:
            socket.put(json.dumps({"req_id": frame["req_id"], "msg_type": "ping", "echo_req": {}, "error": 7}))

        account.deriv.on["ping"] = pong
        await account.clock.advance(30)
        del account.deriv.on["ping"]
        await account.clock.advance(10)
        before = len(account.deriv.calls("ping"))
        await account.clock.advance(60)
        assert len(account.deriv.calls("ping")) >= before + 4
        assert {slot.state for slot in account.pool.slots.values()} == {SlotState.READY}


@pytest.mark.parametrize("problem", [LoginError("not now"), KeyError("account_id"), TypeError("no list")])
async def test_a_slot_is_kept_whatever_a_login_ends_with(opened: Opened, problem: Exception) -> None:
    async with opened() as account:
        account.deriv.refuses_login = problem
        for socket in account.deriv.sockets:
            socket.abort()
        await account.clock.advance(4)
        assert account.pool.connection(ConnectionRole.ORDERS) is None
        assert {slot.state for slot in account.pool.slots.values()} == {SlotState.WAITING}
        account.deriv.refuses_login = None
        await account.clock.advance(31)
        assert {slot.state for slot in account.pool.slots.values()} == {SlotState.READY}


async def test_what_operators_see_of_a_problem_holds_no_secret(opened: Opened) -> None:
    hide("one-time-word-77")
    async with opened() as account:
        account.deriv.refuses_login = LoginError("refused wss://deriv/ws/demo?otp=abc and one-time-word-77")
        account.deriv.open_sockets("orders")[0].abort()
        await account.clock.advance(5)
        assert account.pool.slots[ConnectionRole.ORDERS].problem == "refused wss://deriv/ws/demo?otp=*** and ***"


async def test_after_an_outage_the_calls_that_waited_still_keep_the_limit(opened: Opened) -> None:
    async with opened() as account:
        account.deriv.refuses_login = LoginError("not now")
        for socket in account.deriv.sockets:
            socket.abort()
        await account.clock.advance(0.1)
        started: list[int] = []

        def proposal(socket: Socket, frame: Frame) -> None:
            started.append(account.clock.now_ns())
            account.deriv.reply(socket, frame, "proposal_open_contract", {})

        account.deriv.on["proposal_open_contract"] = proposal

        async def ask() -> None:
            request = requests.ProposalOpenContract(proposal_open_contract=1, contract_id=1)
            await account.client.call("one", request)

        tasks = [asyncio.ensure_future(ask()) for _ in range(200)]
        await account.clock.advance(300)
        assert started == []
        account.deriv.refuses_login = None
        await account.clock.advance(300)
        await asyncio.gather(*tasks)
        assert len(started) == 200
        within_a_minute = max(sum(begin <= time < begin + 60 * 10**9 for time in started) for begin in started)
        assert within_a_minute <= 360


async def test_a_call_that_waits_in_vain_for_a_socket_costs_nothing(opened: Opened) -> None:
    async with opened() as account:
        account.deriv.refuses_login = LoginError("not now")
        for socket in account.deriv.sockets:
            socket.abort()
        await account.clock.advance(0.1)
        before = account.quota.forecast("one", Call.TICKS_HISTORY, account.clock.now_ns())
        deadline_ns = account.clock.now_ns() + 5 * 10**9
        request = requests.TicksHistory(ticks_history="R_100")
        call = asyncio.ensure_future(account.client.call("one", request, deadline_ns=deadline_ns))
        await account.clock.advance(6)
        with pytest.raises(DeniedError, match="no usable connection"):
            await call
        assert account.quota.forecast("one", Call.TICKS_HISTORY, account.clock.now_ns()) == before


class _Alarm(ManualClock):
    """A clock whose timeouts go off when the test says so."""

    scope: asyncio.Timeout

    @asynccontextmanager
    async def timeout(self, seconds: float | None) -> AsyncGenerator[None, None]:
        del seconds
        async with asyncio.timeout(None) as self.scope:
            yield


async def test_an_answer_that_comes_with_the_timeout_counts(opened: Opened) -> None:
    async with opened() as account:
        clock = _Alarm()
        socket = account.deriv.open_sockets("reads")[0]
        connection = Connection("test", cast("ClientConnection", socket), dialect(Dialect.OPTIONS), clock)
        asked: list[Frame] = []
        account.deriv.on["time"] = lambda _, frame: asked.append(frame)
        call = asyncio.ensure_future(connection.call(requests.Time(), 5))
        await clock.settle()
        answer: Frame = {"msg_type": "time", "req_id": asked[0]["req_id"], "echo_req": {}, "time": 8}
        connection._take(json.dumps(answer))  # pyright: ignore[reportPrivateUsage] - the reader and the alarm are due in one turn
        clock.scope.reschedule(asyncio.get_running_loop().time())
        assert (await call)["time"] == 8


async def test_a_socket_that_deriv_has_logged_out_is_replaced(opened: Opened) -> None:
    async with opened() as account:
        account.deriv.on["balance"] = lambda socket, frame: account.deriv.refuse(socket, frame, "AuthorizationRequired")
        with pytest.raises(CallRefusedError):
            await account.client.call("one", requests.Balance(balance=1))
        await account.clock.advance(2)
        assert account.pool.slots[ConnectionRole.READS].reconnects == 1
        assert account.pool.slots[ConnectionRole.READS].state is SlotState.READY


async def test_a_stream_goes_back_to_its_own_slot_when_that_is_filled_again(opened: Opened) -> None:
    async with opened() as account:
        standing = StandingStream(account.client, TRANSACTIONS, lambda _: None)
        await account.clock.advance(0.1)
        account.deriv.refuses_login = LoginError("not now")
        account.deriv.open_sockets("reads")[0].abort()
        await account.clock.advance(3)
        where = [socket.name for socket, frame in account.deriv.sent if "transaction" in frame]
        assert where == ["demo/reads", "demo/orders"]
        account.deriv.refuses_login = None
        await account.clock.advance(40)
        where = [socket.name for socket, frame in account.deriv.sent if "transaction" in frame]
        assert where == ["demo/reads", "demo/orders", "demo/reads"]
        ended = [socket.name for socket, frame in account.deriv.sent if "forget" in frame]
        assert ended == ["demo/orders"]
        await standing.stop()


async def test_news_on_its_way_when_a_stream_moves_is_heard(opened: Opened) -> None:
    async with opened() as account:
        heard: list[object] = []
        standing = StandingStream(account.client, TRANSACTIONS, lambda frame: heard.append(frame["transaction"]))
        await account.clock.advance(0.1)
        account.deriv.open_sockets("reads")[0].abort()
        await account.clock.advance(0.1)
        (earlier,) = [
            frame for socket, frame in account.deriv.sent if "transaction" in frame and "orders" in socket.name
        ]

        def forget(socket: Socket, frame: Frame) -> None:
            # It left before Deriv heard that the stream goes on elsewhere, so only this socket brings it.
            account.deriv.reply(socket, earlier, "transaction", {"action": "sell"})
            account.deriv.reply(socket, frame, "forget", 1)

        account.deriv.on["forget"] = forget
        await account.clock.advance(40)
        assert heard[-1] == {"action": "sell"}
        await standing.stop()


@pytest.mark.parametrize("spoiled", [{"subscription": 5}, {"error": "boom"}, {"msg_type": 8}])
async def test_a_standing_stream_survives_an_opening_that_makes_no_sense(opened: Opened, spoiled: Frame) -> None:
    async with opened() as account:
        seen: list[Frame] = []

        def once(socket: Socket, frame: Frame) -> None:
            account.deriv.on["transaction"] = twice
            body = {"msg_type": "transaction", "req_id": frame["req_id"], "echo_req": frame, "transaction": {}}
            socket.put(json.dumps({**body, **spoiled}))

        def twice(socket: Socket, frame: Frame) -> None:
            account.deriv.reply(socket, frame, "transaction", {}, stream="7" * 36)
            account.deriv.reply(socket, frame, "transaction", {"action": "sell"}, stream="7" * 36)

        account.deriv.on["transaction"] = once
        standing = StandingStream(account.client, TRANSACTIONS, seen.append)
        await account.clock.advance(5)
        for socket in account.deriv.open_sockets("reads"):
            socket.abort()
        await account.clock.advance(5)
        assert seen[-1]["transaction"] == {"action": "sell"}
        await standing.stop()


async def test_a_stream_whose_opening_was_lost_is_ended_and_opened_again(opened: Opened) -> None:
    async with opened() as account:
        running: dict[str, tuple[Socket, Frame]] = {}

        def ticks(socket: Socket, frame: Frame) -> None:
            if running:
                account.deriv.refuse(socket, frame, "AlreadySubscribed")
                return
            running[f"{frame['req_id']:036}"] = socket, frame
            if len(account.deriv.calls("ticks")) > 1:
                ticking(socket, frame, 100)

        def forget(socket: Socket, frame: Frame) -> None:
            running.pop(frame["forget"])
            account.deriv.answer(socket, frame)

        account.deriv.on |= {"ticks": ticks, "forget": forget}
        with account.feeds.ticks(["R_100"]) as watch:
            await account.clock.advance(16)  # the first opening is not answered
            ((socket, frame),) = running.values()
            ticking(socket, frame, 50)  # a frame that nobody takes
            await account.clock.advance(5)
            tick = await watch.next()
            assert not isinstance(tick, CallRefusedError)
            assert tick is not None
            assert tick.epoch_s == 100
        await account.clock.advance(1)
        assert running == {}


async def test_who_watches_again_at_once_does_not_meet_the_stream_that_is_ending(opened: Opened) -> None:
    async with opened() as account:
        running: set[str] = set()

        def ticks(socket: Socket, frame: Frame) -> None:
            if running:
                account.deriv.refuse(socket, frame, "AlreadySubscribed")
                return
            running.add(f"{frame['req_id']:036}")
            ticking(socket, frame, int(account.clock.now_s()))

        def forget(socket: Socket, frame: Frame) -> None:
            running.remove(frame["forget"])
            account.deriv.answer(socket, frame)

        account.deriv.on |= {"ticks": ticks, "forget": forget}
        for _ in range(3):
            with account.feeds.ticks(["R_100"]) as watch:
                await account.clock.settle()
                assert not isinstance(await watch.next(), CallRefusedError)
        assert len(account.deriv.calls("ticks")) == 3


async def test_a_watcher_who_leaves_before_the_answer_leaves_no_stream_behind(opened: Opened) -> None:
    async with opened() as account:
        asked: list[tuple[Socket, Frame]] = []
        account.deriv.on["ticks"] = lambda socket, frame: asked.append((socket, frame))
        with account.feeds.ticks(["R_100"]):
            await account.clock.settle()
        await account.clock.settle()
        connection = account.pool.connection(ConnectionRole.READS)
        assert connection is not None
        assert connection.stream_count == 0
        ticking(*asked[0], 5)
        await account.clock.settle()
        assert len(account.deriv.calls("forget")) == 1


async def test_ticks_are_never_out_of_order(opened: Opened) -> None:
    async with opened() as account:
        account.deriv.on["ticks"] = lambda socket, frame: ticking(socket, frame, 5, 6, 7, 6, 8)
        with account.feeds.ticks(["R_100"]) as watch:
            await account.clock.settle()
            seen = [await watch.next() for _ in range(4)]
        assert [getattr(tick, "epoch_s", None) for tick in seen] == [5, 6, 7, 8]


async def test_open_calls_end_when_the_pool_closes(opened: Opened) -> None:
    async with opened() as account:
        account.deriv.on["time"] = lambda _socket, _frame: None
        call = asyncio.ensure_future(account.client.call("one", requests.Time()))
        await account.clock.settle()
        await account.pool.close()
        with pytest.raises(AnswerLostError, match="ConnectionClosed"):
            await call

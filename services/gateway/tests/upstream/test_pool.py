"""Which socket a call goes to when sockets are slow, silent, full or gone."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from derivfleet.connection.connection import EXIT_ROOM, MOST_IN_FLIGHT, CallRefusedError
from derivfleet.connection.login import CredentialError, LoginError
from derivfleet.deriv import requests
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.orders.denials import DeniedError
from derivfleet.gateway.core.orders.order import State
from derivfleet.gateway.upstream.pool import ConnectionRole, Pool, SlotState, StreamsFullError
from derivfleet.gateway.upstream.streams import StandingStream

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from conftest import Account, Socket

    from derivfleet.deriv.requests import Request

    Opened = Callable[[], AbstractAsyncContextManager[Account]]
Frame = dict[str, Any]
TRANSACTIONS = requests.Transaction(transaction=1, subscribe=1)
CONTRACT = requests.ProposalOpenContract(proposal_open_contract=1, contract_id=1)


def silence(account: Account, *roles: str) -> None:
    for role in roles:
        for socket in account.deriv.open_sockets(role):
            socket.mute = True


def where(account: Account, call: str) -> list[str]:
    return [socket.name.removeprefix("demo/") for socket, frame in account.deriv.sent if call in frame]


def calling(account: Account, request: Request, role: ConnectionRole) -> asyncio.Task[Any]:
    return asyncio.ensure_future(account.client.call("one", request, role))


async def test_orders_leave_a_silent_socket_before_it_is_given_up_and_none_is_sent_twice(opened: Opened) -> None:
    async with opened() as account:
        await account.clock.advance(1)
        silence(account, "orders")
        lost = account.buying("lost")
        await account.clock.advance(3.5)
        assert account.pool.slots[ConnectionRole.ORDERS].state is SlotState.SUSPECT
        assert account.state("lost") == State.SENT
        order, _ = await account.buying("next")
        assert order.state is State.CONFIRMED
        assert where(account, "buy") == ["orders", "reads"]
        await account.clock.advance(3.5)
        assert ((await lost)[0].state, (await lost)[0].error_code) == (State.UNKNOWN, "ConnectionClosed")
        await account.clock.advance(2)
        assert account.pool.slots[ConnectionRole.ORDERS].state is SlotState.READY
        await account.buying("last")
        assert where(account, "buy") == ["orders", "reads", "orders"]


async def test_with_all_sockets_suspect_orders_wait_and_exits_are_sent(opened: Opened) -> None:
    async with opened() as account:
        await account.clock.advance(1)
        silence(account, "orders", "reads")
        first = [calling(account, requests.Time(), role) for role in (ConnectionRole.READS, ConnectionRole.ORDERS)]
        await account.clock.advance(3.5)
        assert {slot.state for slot in account.pool.slots.values()} == {SlotState.SUSPECT}
        waiting = account.buying("o1", deadline_s=2)
        exit_ = calling(account, requests.Sell(sell=1, price=Decimal(0)), ConnectionRole.EXITS)
        await account.clock.settle()
        assert where(account, "buy") == []
        assert where(account, "sell") == ["orders"]
        await account.clock.advance(2.1)
        order, _ = await waiting
        assert (order.state, order.error_code) == (State.DENIED, "NOT_CONNECTED")
        await account.clock.advance(10)
        assert all(isinstance(end, Exception) for end in await asyncio.gather(*first, exit_, return_exceptions=True))


async def test_reads_leave_a_slow_socket_but_large_ones_stay_and_return_when_it_is_well(opened: Opened) -> None:
    async with opened() as account:
        late: list[Callable[[], None]] = []

        def slow(socket: Socket, frame: Frame) -> None:
            if socket.name.endswith("reads"):
                late.append(lambda: account.deriv.answer(socket, frame))
            else:
                account.deriv.answer(socket, frame)

        account.deriv.on |= {"time": slow}
        asked = [calling(account, requests.Time(), ConnectionRole.READS) for _ in range(3)]
        for _ in range(3):
            await account.clock.advance(0.5)
        assert account.pool.slots[ConnectionRole.READS].state is SlotState.SLOW
        assert "answers take" in account.pool.slots[ConnectionRole.READS].problem
        await calling(account, requests.Time(), ConnectionRole.READS)
        await calling(account, requests.TicksHistory(ticks_history="R_100"), ConnectionRole.HISTORY)
        assert where(account, "time") == ["reads"] * 3 + ["orders"]
        assert where(account, "ticks_history") == ["reads"]
        for answer in late:
            answer()
        await asyncio.gather(*asked)
        await account.clock.advance(20)  # pings are answered at once
        assert account.pool.slots[ConnectionRole.READS].state is SlotState.READY
        assert account.pool.slots[ConnectionRole.READS].problem == ""
        del account.deriv.on["time"]
        await calling(account, requests.Time(), ConnectionRole.READS)
        assert where(account, "time")[-1] == "reads"


async def test_a_full_socket_passes_calls_on_then_lets_them_wait_and_keeps_room_for_exits(opened: Opened) -> None:
    async with opened() as account:
        held: list[tuple[Socket, Frame]] = []

        def hold(socket: Socket, frame: Frame) -> None:
            held.append((socket, frame))

        account.deriv.on |= {"buy": hold, "sell": hold}
        buys = [account.buying(f"o{number}") for number in range(2 * MOST_IN_FLIGHT + 1)]
        await account.clock.settle(500)
        assert where(account, "buy") == ["orders"] * MOST_IN_FLIGHT + ["reads"] * MOST_IN_FLIGHT
        sells = [
            calling(account, requests.Sell(sell=1, price=Decimal(0)), ConnectionRole.EXITS)
            for _ in range(EXIT_ROOM + 1)
        ]
        await account.clock.settle(500)
        assert where(account, "sell") == ["orders"] * EXIT_ROOM + ["reads"]
        for number in (0, 1):  # there is one sell more than buys leave room for
            account.deriv.answer(*held[MOST_IN_FLIGHT + number])
        await account.clock.settle(500)
        assert where(account, "buy")[-1] == "reads"
        assert len(where(account, "buy")) == 2 * MOST_IN_FLIGHT + 1
        for socket, frame in held:
            account.deriv.answer(socket, frame)
        await asyncio.gather(*buys, *sells)


async def test_a_call_that_finds_no_room_before_its_deadline_is_not_sent(opened: Opened) -> None:
    async with opened() as account:
        account.deriv.on["time"] = lambda _socket, _frame: None
        full = [calling(account, requests.Time(), ConnectionRole.READS) for _ in range(2 * MOST_IN_FLIGHT)]
        await account.clock.settle(500)
        deadline_ns = account.clock.now_ns() + 10**9
        late = asyncio.ensure_future(account.client.call("two", requests.Time(), ConnectionRole.READS, deadline_ns))
        await account.clock.advance(1.1)
        with pytest.raises(DeniedError, match="no usable connection"):
            await late
        assert len(where(account, "time")) == 2 * MOST_IN_FLIGHT
        await account.clock.advance(20)
        await asyncio.gather(*full, return_exceptions=True)


async def test_streams_spread_over_the_sockets_and_are_refused_beyond_their_caps(opened: Opened) -> None:
    async with opened() as account:
        for number in range(192):
            await account.client.subscribe("one", requests.Ticks(ticks=f"S{number}", subscribe=1), lambda _: None)
            if number % 80 == 79:
                await account.clock.advance(61)
        assert where(account, "ticks") == ["reads"] * 96 + ["orders"] * 96
        await account.clock.advance(61)
        with pytest.raises(StreamsFullError, match="2 open sockets hold 192 streams") as caught:
            await account.client.subscribe("one", requests.Ticks(ticks="S192", subscribe=1), lambda _: None)
        assert not caught.value.for_now
        assert len(where(account, "ticks")) == 192
        # The account's own streams still have room, and calls that are no streams do not need any.
        standing = StandingStream(account.client, TRANSACTIONS, lambda _: None)
        await account.clock.advance(0.1)
        assert where(account, "transaction") == ["reads"]
        await calling(account, CONTRACT, ConnectionRole.READS)
        with account.feeds.ticks(["S200"]) as watch:
            await account.clock.advance(0.1)
            refusal = await watch.next()
            assert isinstance(refusal, CallRefusedError)
            assert refusal.code == "STREAMS_FULL"
        await standing.stop()


async def test_a_stream_that_has_no_room_for_now_is_opened_when_the_other_socket_is_back(opened: Opened) -> None:
    async with opened() as account:
        account.deriv.refuses_login = LoginError("not now")
        account.deriv.open_sockets("orders")[0].abort()
        await account.clock.advance(1)
        for number in range(96):
            await account.client.subscribe("one", requests.Ticks(ticks=f"S{number}", subscribe=1), lambda _: None)
        with account.feeds.ticks(["S96"]):
            await account.clock.advance(61)
            assert "S96" not in [frame["ticks"] for frame in account.deriv.calls("ticks")]
            account.deriv.refuses_login = None
            await account.clock.advance(61)
            assert (where(account, "ticks")[-1], account.deriv.calls("ticks")[-1]["ticks"]) == ("orders", "S96")


async def test_slots_that_are_refused_log_in_one_at_a_time_and_wait_together(opened: Opened) -> None:
    async with opened() as account:
        tries: list[tuple[float, str]] = []
        connect = account.pool.login.connect

        async def watched(name: str) -> Any:
            tries.append((account.clock.now_s(), name))
            return await connect(name)

        account.pool.login.connect = watched  # type: ignore[method-assign]  # pyright: ignore[reportAttributeAccessIssue] - a watcher, not a stand-in
        account.deriv.refuses_login = LoginError("not now")
        for socket in account.deriv.sockets:
            socket.abort()
        await account.clock.advance(120)
        waits = [later - earlier for (earlier, _), (later, _) in pairwise(tries)]
        assert len(tries) <= 11, "one backoff for both: 1 + 2 + 4 + 8 + 16 + 30 + 30 … s, less up to half"
        assert min(waits) >= 0.5
        assert all(wait >= 15 for wait in waits[5:])
        assert {name for _, name in tries} == {"demo/orders", "demo/reads"}


async def test_a_slot_whose_sockets_die_young_waits_but_less_while_there_is_no_other_socket(opened: Opened) -> None:
    async with opened() as account:
        for _ in range(8):
            for socket in account.deriv.open_sockets("orders"):
                socket.abort()
            await account.clock.advance(6)
        assert account.pool.slots[ConnectionRole.ORDERS].usable is None
        assert account.pool.connection(ConnectionRole.ORDERS) is account.pool.slots[ConnectionRole.READS].usable
        for _ in range(8):
            for socket in account.deriv.open_sockets(""):
                socket.abort()
            await account.clock.advance(6)
            assert account.pool.connection(ConnectionRole.ORDERS) is not None


async def test_sockets_given_up_in_silence_count_until_deriv_has_noticed(opened: Opened) -> None:
    async with opened() as account:
        await account.clock.advance(1)
        for _ in range(3):
            silence(account, "orders")
            await account.clock.advance(20)
        slot = account.pool.slots[ConnectionRole.ORDERS]
        assert slot.state is SlotState.WAITING
        assert slot.problem == "4 sockets of this user may still be open at Deriv"
        connection = account.pool.connection(ConnectionRole.ORDERS)
        assert connection is not None
        assert connection.name == "demo/reads"
        await account.clock.advance(90)
        assert slot.state is SlotState.READY
        assert where(account, "ping").count("orders") > 3
        assert Call.PING in account.quota.table.free


async def test_only_the_account_that_the_journal_s_orders_are_about_is_entered(opened: Opened) -> None:
    async with opened() as account:
        assert account.pool.login_id == "DOT1"
        told: list[str] = []
        again = Pool("demo", account.pool.login, account.clock, lambda _: None)
        again.on_login = told.append
        again.login_id = "DOT1"
        await again.start()
        assert told == ["DOT1"]
        await again.close()
        other = Pool("demo", account.pool.login, account.clock, lambda _: None)
        other.on_login = told.append
        other.login_id = "CR7"
        with pytest.raises(
            CredentialError, match=r"belongs to DOT1, but the orders of accounts\.demo are those of CR7"
        ):
            await other.start()
        assert account.deriv.sockets[-1].close_code
        assert (told, other.facts) == (["DOT1"], None)
        await other.close()
        fresh = Pool("demo", account.pool.login, account.clock, lambda _: None)
        fresh.on_login = told.append
        await fresh.start()
        assert (told, fresh.login_id) == (["DOT1"] * 2, "DOT1")
        await fresh.close()

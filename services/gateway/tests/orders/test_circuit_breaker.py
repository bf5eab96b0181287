"""No orders are opened while Deriv is sick; what is open is still closed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.orders.circuit_breaker import BreakerState, Passage
from derivfleet.gateway.core.orders.denials import DerivSick
from derivfleet.gateway.core.orders.exit import ExitKind, ExitTerms
from derivfleet.gateway.core.orders.order import Order, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from conftest import Account, Socket

    Opened = Callable[[], AbstractAsyncContextManager[Account]]
Frame = dict[str, Any]


def breaker_state(account: Account) -> BreakerState:
    return account.orders.circuit_breaker.breaker.state


async def bought(account: Account, order_id: str) -> Order:
    order, _ = await account.buying(order_id)
    return order


async def fall_sick(account: Account) -> None:
    """Five purchases end in an error of the server."""
    account.deriv.on["buy"] = lambda socket, frame: account.deriv.refuse(socket, frame, "InternalServerError")
    for number in range(5):
        order = await bought(account, f"sick{number}")
        assert order.state is State.UNKNOWN
    assert breaker_state(account) is BreakerState.OPEN


async def test_orders_are_denied_at_once_and_told_when_to_come_back(opened: Opened) -> None:
    async with opened() as account:
        await fall_sick(account)
        before = account.quota.forecast("one", Call.BUY, account.clock.now_ns())
        order, denial = await account.buying("o1")
        assert (order.state, order.error_code) == (State.DENIED, "DERIV_SICK")
        assert order.error_message.startswith("Deriv is sick: 5 of 5 orders in 30 s had no answer that says")
        assert "the last one InternalServerError; an order is let through again in 1." in order.error_message
        assert isinstance(denial, DerivSick)
        assert 10**9 <= denial.wait_ns <= 2 * 10**9
        assert len(account.deriv.calls("buy")) == 5
        assert account.quota.forecast("one", Call.BUY, account.clock.now_ns()) == before, "no permit was spent"


async def test_positions_are_closed_all_the_same(opened: Opened) -> None:
    async with opened() as account:
        held = await bought(account, "held")
        await fall_sick(account)
        body = {"sold_for": 1, "transaction_id": 5, "contract_id": held.contract_id, "balance_after": 1}
        account.deriv.on["sell"] = lambda socket, frame: account.deriv.reply(socket, frame, "sell", body)
        sale, deadline_ns = ExitTerms(ExitKind.SELL), account.clock.now_ns() + 10**9
        sold, _ = await account.orders.exits.carry_out(held, "", sale, deadline_ns, "")
        assert sold.state is State.SETTLED


async def test_one_order_is_let_through_and_its_answer_ends_the_illness(opened: Opened) -> None:
    async with opened() as account:
        await fall_sick(account)
        await account.clock.advance(2)
        asked: list[tuple[Socket, Frame]] = []
        account.deriv.on["buy"] = lambda socket, frame: asked.append((socket, frame))
        trial = account.buying("trial")
        await account.clock.settle()
        assert breaker_state(account) is BreakerState.HALF_OPEN
        order = await bought(account, "beside")
        assert (order.state, order.error_code) == (State.DENIED, "DERIV_SICK")
        account.deriv.answer(*asked[0])
        assert (await trial)[0].state is State.CONFIRMED
        assert breaker_state(account) is BreakerState.CLOSED
        del account.deriv.on["buy"]
        assert (await bought(account, "after")).state is State.CONFIRMED


async def test_a_certain_refusal_is_an_answer(opened: Opened) -> None:
    async with opened() as account:
        await fall_sick(account)
        await account.clock.advance(2)
        account.deriv.on["buy"] = lambda socket, frame: account.deriv.refuse(socket, frame, "InsufficientBalance")
        assert (await bought(account, "o1")).state is State.REJECTED
        assert breaker_state(account) is BreakerState.CLOSED


async def test_orders_that_wait_when_deriv_falls_sick_are_not_sent(opened: Opened) -> None:
    async with opened() as account:
        for socket in account.deriv.sockets:
            socket.abort()
        await account.clock.advance(0.1)
        waiting = account.buying("waiting")
        await account.clock.settle()
        assert account.state("waiting") == State.INTENDED
        breaker, now_ns = account.orders.circuit_breaker.breaker, account.clock.now_ns()
        for _ in range(5):
            passage = breaker.enter(now_ns)
            assert isinstance(passage, Passage)
            breaker.failed(passage, now_ns, "Timeout")
        await account.clock.advance(1)  # the sockets are back before the breaker lets one through
        order, _ = await waiting
        assert (order.state, order.error_code) == (State.DENIED, "DERIV_SICK")
        assert account.deriv.calls("buy") == []


async def test_a_socket_that_takes_many_orders_along_does_not_make_deriv_sick(opened: Opened) -> None:
    async with opened() as account:
        account.deriv.on["buy"] = lambda _socket, _frame: None
        buys = [account.buying(f"o{number}") for number in range(10)]
        await account.clock.settle(200)
        account.deriv.open_sockets("orders")[0].abort()
        ends = [order.state for order, _ in await asyncio.gather(*buys)]
        assert ends == [State.UNKNOWN] * 10
        assert breaker_state(account) is BreakerState.CLOSED
        del account.deriv.on["buy"]
        assert (await bought(account, "next")).state is State.CONFIRMED


async def test_an_order_that_finds_no_socket_is_no_trial(opened: Opened) -> None:
    async with opened() as account:
        await fall_sick(account)
        await account.clock.advance(2)
        del account.deriv.on["buy"]
        account.deriv.refuses_login = OSError("not now")
        for socket in account.deriv.sockets:
            socket.abort()
        trial = account.buying("trial", deadline_s=1)
        await account.clock.advance(1.1)
        assert (await trial)[0].error_code == "NOT_CONNECTED"
        assert breaker_state(account) is BreakerState.OPEN
        account.deriv.refuses_login = None
        await account.clock.advance(10)
        assert (await bought(account, "next")).state is State.CONFIRMED
        assert breaker_state(account) is BreakerState.CLOSED

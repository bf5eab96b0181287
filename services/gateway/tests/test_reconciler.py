"""Finding lost orders and missed settlements when the records themselves are hard to read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from derivfleet.gateway.core.orders import Order, State
from derivfleet.gateway.reconciler import Reconciler

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from conftest import Account, Socket

    Opened = Callable[[], AbstractAsyncContextManager[Account]]
Frame = dict[str, Any]


async def lose(account: Account, order_id: str, *, bought: bool) -> None:
    """Buy and let the socket die instead of the answer."""

    def buy(socket: Socket, frame: Frame) -> None:
        if bought:
            account.deriv.bought(frame)
        socket.abort()

    account.deriv.on["buy"] = buy
    order, _ = await account.buying(order_id)
    assert order.state is State.UNKNOWN
    del account.deriv.on["buy"]


def sold(account: Account) -> Callable[[Socket, Frame], None]:
    def answer(socket: Socket, frame: Frame) -> None:
        contract = {
            "contract_id": frame["contract_id"],
            "is_sold": 1,
            "sell_price": "0.68",
            "sell_time": 9,
            "buy_price": 1,
        }
        account.deriv.reply(socket, frame, "proposal_open_contract", contract)

    return answer


async def test_a_contract_that_cannot_be_read_does_not_keep_others_from_settling(opened: Opened) -> None:
    async with opened() as account:
        first, _ = await account.buying("o1")
        await account.buying("o2", "two")
        settle = sold(account)

        def contract(socket: Socket, frame: Frame) -> None:
            if frame["contract_id"] == first.contract_id:
                account.deriv.refuse(socket, frame, "ContractNotFound")
            else:
                settle(socket, frame)

        account.deriv.on["proposal_open_contract"] = contract
        reconciler = Reconciler(account.desk)
        await account.clock.advance(20)
        assert [account.state(name) for name in ("o1", "o2")] == [State.CONFIRMED, State.SETTLED]
        assert len(account.deriv.calls("proposal_open_contract")) < 12  # and is not asked for without end
        await reconciler.stop()


async def test_a_statement_that_cannot_be_read_does_not_keep_contracts_from_settling(opened: Opened) -> None:
    async with opened() as account:
        await account.buying("o1")
        await lose(account, "o2", bought=True)

        def statement(socket: Socket, frame: Frame) -> None:
            account.deriv.reply(socket, frame, "statement", {"transactions": [7]})

        account.deriv.on |= {"statement": statement, "proposal_open_contract": sold(account)}
        reconciler = Reconciler(account.desk)
        await account.clock.advance(90)
        assert [account.state(name) for name in ("o1", "o2")] == [State.SETTLED, State.UNKNOWN]
        del account.deriv.on["statement"]
        await account.clock.advance(120)
        assert account.state("o2") == State.SETTLED
        await reconciler.stop()


async def test_a_mistake_in_one_turn_does_not_end_reconciling(opened: Opened) -> None:
    async with opened() as account:
        await lose(account, "o1", bought=True)
        await account.clock.advance(2)
        reconciler = Reconciler(account.desk)
        account.deriv.on["statement"] = lambda socket, frame: socket.put(json.dumps({"req_id": frame["req_id"]}))
        seats, account.pool.seats = account.pool.seats, cast("Any", None)  # stands for any mistake of ours
        await account.clock.advance(5)
        account.pool.seats = seats
        del account.deriv.on["statement"]
        await account.clock.advance(40)
        assert account.state("o1") == State.CONFIRMED
        await reconciler.stop()


async def test_a_lost_order_is_found_behind_hundreds_of_later_purchases(opened: Opened) -> None:
    async with opened() as account:
        account.deriv.on["statement"] = lambda socket, _frame: socket.abort()  # nobody can look at first
        reconciler = Reconciler(account.desk)
        await lose(account, "o1", bought=True)
        (row,) = account.deriv.purchases
        noise = {**row, "shortcode": "DIGITOVER_1HZ10V_1.00_1795161602_1T_4_0"}
        for number in range(1200):
            account.deriv.purchases.insert(0, {**noise, "contract_id": 10**6 + number})
        del account.deriv.on["statement"]
        await account.clock.advance(60)
        assert account.state("o1") == State.CONFIRMED
        order = account.desk.find("o1")
        assert order is not None
        assert order.contract_id == row["contract_id"]
        await reconciler.stop()


async def test_what_was_never_bought_is_not_found_and_a_later_answer_corrects_it(opened: Opened) -> None:
    async with opened() as account:
        asked: list[tuple[Socket, Frame]] = []
        account.deriv.on["buy"] = lambda socket, frame: asked.append((socket, frame))
        reconciler = Reconciler(account.desk)
        buying = account.buying("o1")
        await account.clock.advance(16)
        assert (await buying)[0].state is State.UNKNOWN
        await account.clock.advance(28)
        assert account.state("o1") == State.UNKNOWN
        await account.clock.advance(3)
        assert account.state("o1") == State.NOT_FOUND
        socket, frame = asked[0]
        account.deriv.reply(socket, frame, "buy", account.deriv.bought(frame))
        await account.clock.advance(0.1)
        order = account.desk.find("o1")
        assert isinstance(order, Order)
        assert (order.state, order.reconciled) == (State.CONFIRMED, True)
        assert account.desk.tallies.of("one").open == 1
        await reconciler.stop()

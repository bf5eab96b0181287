"""Finding lost orders and missed settlements when the records themselves are hard to read."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest

from derivfleet.gateway.core.exits import Ending
from derivfleet.gateway.core.orders import Attribution, Doubt, Order, OrderTerms, State
from derivfleet.gateway.desk import Desk
from derivfleet.gateway.journal.feed import Feed
from derivfleet.gateway.reconciler import Reconciler
from derivfleet.gateway.refusals import OrderDoubtfulError, ResolveRefusedError
from derivfleet.gateway.resolutions import resolve

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from conftest import Account, Socket

    Opened = Callable[[], AbstractAsyncContextManager[Account]]
Frame = dict[str, Any]
PRICE = Decimal("0.35")


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


def pushed(account: Account, row: Frame, **change: Any) -> None:
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
    account.desk.on_transaction({"msg_type": "transaction", "transaction": movement})


def shown(account: Account, **change: Any) -> Callable[[Socket, Frame], None]:
    """Deriv shows a contract that was bought, open still."""

    def answer(socket: Socket, frame: Frame) -> None:
        (row,) = [row for row in account.deriv.purchases if row["contract_id"] == frame["contract_id"]]
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
        account.deriv.reply(socket, frame, "proposal_open_contract", contract)

    return answer


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
        # What the account was paid for it is the last resort.
        account.deriv.sales = [{**account.deriv.purchases[-1], "action_type": "sell", "amount": 0}]
        await account.clock.advance(120)
        settled = account.desk.find("o1")
        assert settled is not None
        assert (settled.state, settled.profit, settled.ending) == (State.SETTLED, -PRICE, Ending.EXPIRED)
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


async def test_a_purchase_that_the_stream_told_of_is_found_at_once(opened: Opened) -> None:
    async with opened() as account:
        reconciler = Reconciler(account.desk)
        account.deriv.on["proposal_open_contract"] = shown(account)
        await lose(account, "o1", bought=True)
        pushed(account, account.deriv.purchases[0])
        await account.clock.advance(0.6)
        order = account.desk.find("o1")
        assert order is not None
        assert (order.state, order.attribution) == (State.CONFIRMED, Attribution.RECORD)
        assert account.deriv.calls("statement") == account.deriv.calls("portfolio") == []
        await reconciler.stop()


async def test_open_contracts_are_read_before_the_statement(opened: Opened) -> None:
    async with opened() as account:
        reconciler = Reconciler(account.desk)
        await lose(account, "o1", bought=True)
        (row,) = account.deriv.purchases
        contract = {**row, "buy_price": str(-row["amount"]), "purchase_time": row["transaction_time"]}
        account.deriv.on["portfolio"] = lambda socket, frame: account.deriv.reply(
            socket, frame, "portfolio", {"contracts": [contract]}
        )
        await account.clock.advance(1.6)
        assert account.state("o1") == State.CONFIRMED
        assert account.deriv.calls("statement") == []
        await reconciler.stop()


async def test_one_read_serves_every_lost_order(opened: Opened) -> None:
    async with opened() as account:
        reconciler = Reconciler(account.desk)

        def silently(_socket: Socket, frame: Frame) -> None:
            account.deriv.bought(frame)

        buying = [account.buying(f"o{number}", "one" if number % 2 else "two") for number in range(20)]
        account.deriv.on["buy"] = silently
        await account.clock.settle()
        for socket in account.deriv.open_sockets("orders"):
            socket.abort()
        await account.clock.advance(0.1)
        orders = [(await one)[0] for one in buying]
        assert {order.state for order in orders} == {State.UNKNOWN}
        await account.clock.advance(4)
        assert (len(account.deriv.calls("portfolio")), len(account.deriv.calls("statement"))) == (1, 1)
        assert {account.state(order.order_id) for order in orders} == {State.CONFIRMED}
        contracts = [account.desk.open[order.order_id].contract_id for order in orders]
        assert sorted(contracts) == sorted(row["contract_id"] for row in account.deriv.purchases)
        assert {account.desk.open[order.order_id].attribution for order in orders} == {Attribution.INFERRED}
        await reconciler.stop()


async def test_a_purchase_that_the_statement_shows_late_is_found_by_the_watch(opened: Opened) -> None:
    async with opened() as account:
        reconciler = Reconciler(account.desk)
        await lose(account, "o1", bought=True)
        later, account.deriv.purchases = account.deriv.purchases, []
        await account.clock.advance(300)
        assert account.state("o1") == State.NOT_FOUND
        account.deriv.purchases = later
        await account.clock.advance(61)
        order = account.desk.find("o1")
        assert order is not None
        assert (order.state, order.found_late, order.attribution) == (State.CONFIRMED, True, Attribution.RECORD)
        assert account.desk.tallies.of("one").found_late == 1
        await reconciler.stop()


async def test_the_watch_goes_on_after_a_restart_and_ends(opened: Opened) -> None:
    async with opened() as account:
        reconciler = Reconciler(account.desk)
        await lose(account, "o1", bought=False)
        await account.clock.advance(40)
        assert account.state("o1") == State.NOT_FOUND
        await reconciler.stop()
        desk = Desk(account.line, Feed(account.journal), account.telemetry, "USD")
        desk.recover()
        assert list(desk.watched) == ["o1"]
        reconciler = Reconciler(desk)
        reads = len(account.deriv.calls("statement"))
        await account.clock.advance(700)
        assert reads + 9 <= len(account.deriv.calls("statement")) <= reads + 13
        assert desk.watched == {}
        await reconciler.stop()


async def test_fewer_purchases_than_orders_alike_are_left_to_an_operator(opened: Opened) -> None:
    async with opened() as account:
        reconciler = Reconciler(account.desk)
        await lose(account, "o1", bought=True)
        await lose(account, "o2", bought=False)
        await account.clock.advance(25)
        assert [account.desk.unknown[name].doubt for name in ("o1", "o2")] == [Doubt.NONE] * 2
        await account.clock.advance(10)
        orders = [account.desk.unknown[name] for name in ("o1", "o2")]
        assert [order.doubt for order in orders] == [Doubt.FEWER_CANDIDATES] * 2
        contract_id = account.deriv.purchases[0]["contract_id"]
        assert [[one.contract_id for one in order.candidates] for order in orders] == [[contract_id]] * 2
        assert account.desk.evidence.foreign_count == 0
        # The same bot buys no more of that kind; others, and other kinds, go on.
        with pytest.raises(OrderDoubtfulError, match="orders resolve o1"):
            await account.buying("o3")
        assert (await account.buying("o4", "two"))[0].state is State.CONFIRMED
        written = account.desk.feed.last_position
        await account.clock.advance(300)
        assert account.desk.feed.last_position == written  # a doubt is written down once
        # A restart keeps the doubts, and does not take them back before it has read.
        await reconciler.stop()
        desk = Desk(account.line, Feed(account.journal), account.telemetry, "USD")
        desk.recover()
        reconciler = Reconciler(desk)
        await account.clock.advance(60)
        assert [order.doubt for order in desk.unknown.values()] == [Doubt.FEWER_CANDIDATES] * 2
        assert account.journal.last_position() == written
        await reconciler.stop()
        reconciler = Reconciler(account.desk)
        await account.clock.advance(60)
        # An operator decides the one; the other one follows from that.
        account.deriv.on["proposal_open_contract"] = shown(account)
        order = await resolve(account.desk, account.desk.unknown["o2"], contract_id, "ann")
        assert (order.state, order.attribution, order.resolved_by) == (State.CONFIRMED, Attribution.OPERATOR, "ann")
        await account.clock.advance(1)
        assert account.state("o1") == State.NOT_FOUND
        assert (await account.buying("o3"))[0].state is State.CONFIRMED
        await reconciler.stop()


async def test_an_operator_cannot_say_what_cannot_be(opened: Opened) -> None:
    async with opened() as account:
        bought, _ = await account.buying("o1")
        await lose(account, "o2", bought=True)
        account.deriv.on["proposal_open_contract"] = shown(account)
        lost = account.desk.unknown["o2"]
        with pytest.raises(ResolveRefusedError, match="belongs to another order"):
            await resolve(account.desk, lost, bought.contract_id, "ann")
        account.deriv.on["proposal_open_contract"] = shown(account, shortcode="DIGITOVER_1HZ100V_1.00_9_1T_5_0")
        with pytest.raises(ResolveRefusedError, match="another barrier"):
            await resolve(account.desk, lost, account.deriv.purchases[0]["contract_id"], "ann")
        account.deriv.on["proposal_open_contract"] = shown(account, shortcode="MULTUP_R_100_10.00_30_1_2_0_0.00_N1")
        with pytest.raises(ResolveRefusedError, match="no contract"):
            await resolve(account.desk, lost, account.deriv.purchases[0]["contract_id"], "ann")
        with pytest.raises(ResolveRefusedError, match="nothing to resolve"):
            await resolve(account.desk, bought, 0, "ann")
        assert account.state("o2") == State.UNKNOWN
        order = await resolve(account.desk, lost, 0, "ann")
        assert (order.state, order.resolved_by, order.answered_time_ns) == (
            State.NOT_FOUND,
            "ann",
            account.clock.now_ns(),
        )


async def test_trades_that_are_not_the_fleet_s_are_noticed_and_stop_blind_matching(opened: Opened) -> None:
    async with opened() as account:
        reconciler = Reconciler(account.desk)
        foreign = {"contract_id": 777, "transaction_id": 778, "amount": "-0.35"}
        row = {**foreign, "transaction_time": int(account.clock.now_s())}
        pushed(account, row)
        await account.clock.advance(4)
        assert account.desk.evidence.foreign_count == 0
        await account.clock.advance(2)
        assert account.desk.evidence.foreign_count == 1
        (trade,) = account.desk.evidence.newest_foreign(5)
        assert (trade.contract_id, trade.symbol, trade.price) == (777, "1HZ100V", PRICE)
        pushed(account, row, action="sell", amount="0.68")
        assert account.desk.evidence.foreign_count == 1
        await lose(account, "o1", bought=True)
        (own,) = account.deriv.purchases
        account.deriv.purchases.append({**own, "contract_id": 777})  # the list has no secrets
        await account.clock.advance(3)
        order = account.desk.unknown["o1"]
        assert order.doubt is Doubt.FOREIGN_TRADES
        assert [one.contract_id for one in order.candidates] == [own["contract_id"]]
        # What looks otherwise is matched as ever.
        other = OrderTerms("DIGITOVER", "1HZ100V", Decimal("0.70"), 1, "t", "4")

        def dying(socket: Socket, frame: Frame) -> None:
            account.deriv.bought(frame)
            socket.abort()

        account.deriv.on["buy"] = dying
        deadline_ns = account.clock.now_ns() + 10**9
        await account.desk.buy("two", "o2", other, deadline_ns, {}, lambda: True)
        await account.clock.advance(3)
        assert account.state("o2") == State.CONFIRMED
        await reconciler.stop()


async def test_a_foreign_contract_that_is_over_at_once_is_told_with_what_was_bought(opened: Opened) -> None:
    async with opened() as account:
        row = {"contract_id": 777, "transaction_id": 778, "amount": "-0.35", "transaction_time": 1_795_161_600}
        pushed(account, row)
        pushed(account, row, action="sell", amount="0.68")
        (trade,) = account.desk.evidence.newest_foreign(5)
        assert (trade.contract_id, trade.symbol, trade.price) == (777, "1HZ100V", PRICE)
        # One whose purchase nobody heard of is told too.
        pushed(account, {**row, "contract_id": 778}, action="sell", amount="0.68")
        assert account.desk.evidence.newest_foreign(1)[0].price is None
        assert account.desk.evidence.foreign_count == 2


async def test_where_rows_name_their_app_only_the_own_ones_count(opened: Opened) -> None:
    async with opened() as account:
        account.desk.evidence.own_app_id = 12345
        reconciler = Reconciler(account.desk)
        await lose(account, "o1", bought=True)
        (row,) = account.deriv.purchases
        account.deriv.purchases = [{**row, "contract_id": 777, "app_id": 999}, {**row, "app_id": 12345}]
        await account.clock.advance(3)
        order = account.desk.find("o1")
        assert order is not None
        assert (order.state, order.contract_id) == (State.CONFIRMED, row["contract_id"])
        assert account.desk.evidence.foreign_count == 1
        await reconciler.stop()


async def test_own_purchases_are_never_taken_for_somebody_else_s(opened: Opened) -> None:
    async with opened() as account:
        reconciler = Reconciler(account.desk)
        account.deriv.on["proposal_open_contract"] = sold(account)

        def buy(socket: Socket, frame: Frame) -> None:
            receipt = account.deriv.bought(frame)
            pushed(account, account.deriv.purchases[0])
            account.deriv.reply(socket, frame, "buy", receipt)

        account.deriv.on["buy"] = buy
        await account.buying("o1")
        pushed(account, account.deriv.purchases[0])
        await account.clock.advance(30)
        pushed(account, account.deriv.purchases[0])  # once more, when it is settled
        await account.clock.advance(30)
        assert account.state("o1") == State.SETTLED
        assert account.desk.evidence.foreign_count == 0
        await reconciler.stop()


async def test_records_that_nobody_can_read_are_a_doubt_that_ends_with_the_first_read(opened: Opened) -> None:
    async with opened() as account:
        reconciler = Reconciler(account.desk)
        await lose(account, "o1", bought=True)
        for call in ("statement", "portfolio"):
            account.deriv.on[call] = lambda socket, frame: account.deriv.refuse(socket, frame, "InternalServerError")
        await account.clock.advance(58)
        assert account.desk.unknown["o1"].doubt is Doubt.NONE
        await account.clock.advance(5)
        assert account.desk.unknown["o1"].doubt is Doubt.UNREADABLE
        account.deriv.on.clear()
        await account.clock.advance(5)
        assert account.state("o1") == State.CONFIRMED
        await reconciler.stop()

"""What the stream and the lists tell of purchases: which may be lost orders, and which are somebody else's."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from derivfleet.gateway.core.orders.order import Attribution, Doubt, OrderTerms, State

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from conftest import Account, Socket

    Opened = Callable[[], AbstractAsyncContextManager[Account]]
Frame = dict[str, Any]
PRICE = Decimal("0.35")


async def test_a_purchase_that_the_stream_told_of_is_found_at_once(opened: Opened) -> None:
    async with opened() as account:
        reconciler = account.orders.reconciler()
        account.deriv.on["proposal_open_contract"] = account.shown()
        await account.lose("o1", bought=True)
        account.pushed(account.deriv.purchases[0])
        await account.clock.advance(0.6)
        order = account.orders.registry.find("o1")
        assert order is not None
        assert (order.state, order.attribution) == (State.CONFIRMED, Attribution.RECORD)
        assert account.deriv.calls("statement") == account.deriv.calls("portfolio") == []
        await reconciler.stop()


async def test_a_purchase_that_is_nobody_s_when_looked_at_is_told_though_no_list_can_be_read(opened: Opened) -> None:
    async with opened() as account:
        reconciler = account.orders.reconciler()
        for name in ("portfolio", "statement"):
            account.deriv.on[name] = lambda socket, frame: account.deriv.refuse(socket, frame, "RateLimit")
        account.deriv.on["proposal_open_contract"] = account.shown()
        await account.lose("o1", bought=False)
        account.deriv.bought(account.deriv.calls("buy")[0])
        (row,) = account.deriv.purchases
        row["shortcode"] = row["shortcode"].replace("_4_0", "_5_0")  # another barrier
        account.pushed(row)
        await account.clock.advance(8)
        assert account.state("o1") == State.UNKNOWN
        assert [trade.contract_id for trade in account.orders.evidence.newest_foreign(2)] == [row["contract_id"]]
        await reconciler.stop()


async def test_open_contracts_are_read_before_the_statement(opened: Opened) -> None:
    async with opened() as account:
        reconciler = account.orders.reconciler()
        await account.lose("o1", bought=True)
        (row,) = account.deriv.purchases
        contract = {**row, "buy_price": str(-row["amount"]), "purchase_time": row["transaction_time"]}
        account.deriv.on["portfolio"] = lambda socket, frame: account.deriv.reply(
            socket, frame, "portfolio", {"contracts": [contract]}
        )
        await account.clock.advance(1.6)
        assert account.state("o1") == State.CONFIRMED
        assert account.deriv.calls("statement") == []
        await reconciler.stop()


async def test_a_portfolio_that_cannot_be_read_keeps_no_statement_from_being_read(opened: Opened) -> None:
    async with opened() as account:
        reconciler = account.orders.reconciler()
        account.deriv.on["portfolio"] = lambda socket, frame: account.deriv.refuse(socket, frame, "InternalServerError")
        await account.lose("o1", bought=True)
        await account.clock.advance(3)
        assert account.state("o1") == State.CONFIRMED
        await reconciler.stop()


async def test_one_read_serves_every_lost_order(opened: Opened) -> None:
    async with opened() as account:
        reconciler = account.orders.reconciler()

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
        contracts = [account.orders.registry.open[order.order_id].contract_id for order in orders]
        assert sorted(contracts) == sorted(row["contract_id"] for row in account.deriv.purchases)
        assert {account.orders.registry.open[order.order_id].attribution for order in orders} == {Attribution.INFERRED}
        await reconciler.stop()


async def test_trades_that_are_not_the_fleet_s_are_noticed_and_stop_blind_matching(opened: Opened) -> None:
    async with opened() as account:
        reconciler = account.orders.reconciler()
        foreign = {"contract_id": 777, "transaction_id": 778, "amount": "-0.35"}
        row = {**foreign, "transaction_time": int(account.clock.now_s())}
        account.pushed(row)
        await account.clock.advance(4)
        assert account.orders.evidence.foreign_count == 0
        await account.clock.advance(2)
        assert account.orders.evidence.foreign_count == 1
        (trade,) = account.orders.evidence.newest_foreign(5)
        assert (trade.contract_id, trade.symbol, trade.price) == (777, "1HZ100V", PRICE)
        account.pushed(row, action="sell", amount="0.68")
        assert account.orders.evidence.foreign_count == 1
        await account.lose("o1", bought=True)
        (own,) = account.deriv.purchases
        account.deriv.purchases.append({**own, "contract_id": 777})  # the list has no secrets
        await account.clock.advance(3)
        order = account.orders.registry.unknown["o1"]
        assert order.doubt is Doubt.FOREIGN_TRADES
        assert [one.contract_id for one in order.candidates] == [own["contract_id"]]
        # What looks otherwise is matched as ever.
        other = OrderTerms("DIGITOVER", "1HZ100V", Decimal("0.70"), 1, "t", "4")

        def dying(socket: Socket, frame: Frame) -> None:
            account.deriv.bought(frame)
            socket.abort()

        account.deriv.on["buy"] = dying
        deadline_ns = account.clock.now_ns() + 10**9
        await account.orders.purchases.buy("two", "o2", other, deadline_ns, "", lambda: True)
        await account.clock.advance(3)
        assert account.state("o2") == State.CONFIRMED
        await reconciler.stop()


async def test_a_foreign_contract_that_is_over_at_once_is_told_with_what_was_bought(opened: Opened) -> None:
    async with opened() as account:
        row = {"contract_id": 777, "transaction_id": 778, "amount": "-0.35", "transaction_time": 1_795_161_600}
        account.pushed(row)
        account.pushed(row, action="sell", amount="0.68")
        (trade,) = account.orders.evidence.newest_foreign(5)
        assert (trade.contract_id, trade.symbol, trade.price) == (777, "1HZ100V", PRICE)
        # One whose purchase nobody heard of is told too.
        account.pushed({**row, "contract_id": 778}, action="sell", amount="0.68")
        assert account.orders.evidence.newest_foreign(1)[0].price is None
        assert account.orders.evidence.foreign_count == 2


async def test_where_rows_name_their_app_only_the_own_ones_count(opened: Opened) -> None:
    async with opened() as account:
        account.orders.evidence.own_app_id = 12345
        reconciler = account.orders.reconciler()
        await account.lose("o1", bought=True)
        (row,) = account.deriv.purchases
        account.deriv.purchases = [{**row, "contract_id": 777, "app_id": 999}, {**row, "app_id": 12345}]
        await account.clock.advance(3)
        order = account.orders.registry.find("o1")
        assert order is not None
        assert (order.state, order.contract_id) == (State.CONFIRMED, row["contract_id"])
        assert account.orders.evidence.foreign_count == 1
        await reconciler.stop()


async def test_own_purchases_are_never_taken_for_somebody_else_s(opened: Opened) -> None:
    async with opened() as account:
        reconciler = account.orders.reconciler()
        account.deriv.on["proposal_open_contract"] = account.sold()

        def buy(socket: Socket, frame: Frame) -> None:
            receipt = account.deriv.bought(frame)
            account.pushed(account.deriv.purchases[0])
            account.deriv.reply(socket, frame, "buy", receipt)

        account.deriv.on["buy"] = buy
        await account.buying("o1")
        account.pushed(account.deriv.purchases[0])
        await account.clock.advance(30)
        account.pushed(account.deriv.purchases[0])  # once more, when it is settled
        await account.clock.advance(30)
        assert account.state("o1") == State.SETTLED
        assert account.orders.evidence.foreign_count == 0
        await reconciler.stop()


async def test_what_loses_its_answer_while_a_list_is_read_is_nobody_else_s(opened: Opened) -> None:
    async with opened() as account:
        reconciler = account.orders.reconciler()
        asked: list[tuple[Socket, Frame]] = []
        account.deriv.on["portfolio"] = lambda socket, frame: asked.append((socket, frame))
        await account.lose("o1", bought=False)
        await account.clock.advance(5)  # too late for what is bought now to be the first one

        def silently(_socket: Socket, frame: Frame) -> None:
            account.deriv.bought(frame)

        account.deriv.on["buy"] = silently
        buying = account.buying("o2", "two")
        await account.clock.advance(6)
        for socket in account.deriv.open_sockets("orders"):
            socket.abort()
        assert (await buying)[0].state is State.UNKNOWN
        ((socket, frame),) = asked
        (row,) = account.deriv.purchases
        contract = {**row, "buy_price": str(-row["amount"]), "purchase_time": row["transaction_time"]}
        account.deriv.reply(socket, frame, "portfolio", {"contracts": [contract]})
        await account.clock.advance(0.4)
        assert account.orders.evidence.foreign_count == 0
        order = account.orders.registry.find("o2")
        assert order is not None
        assert (order.state, order.attribution) == (State.CONFIRMED, Attribution.RECORD)
        assert account.deriv.calls("statement") == []
        await reconciler.stop()


async def test_a_contract_that_has_its_order_is_nobody_else_s(opened: Opened) -> None:
    async with opened() as account:
        reconciler = account.orders.reconciler()
        account.deriv.on["proposal_open_contract"] = account.sold()
        await account.buying("o1")
        await account.lose("o2", bought=False)
        account.pushed(account.deriv.purchases[0])
        await account.clock.advance(29)
        assert [account.state(name) for name in ("o1", "o2")] == [State.SETTLED, State.UNKNOWN]
        await account.clock.advance(5)
        assert account.state("o2") == State.NOT_FOUND
        assert account.orders.evidence.foreign_count == 0
        await reconciler.stop()


async def test_many_sightings_are_left_to_a_list_that_serves_them_all(opened: Opened) -> None:
    async with opened() as account:
        reconciler = account.orders.reconciler()
        account.deriv.on["proposal_open_contract"] = lambda socket, frame: account.deriv.refuse(
            socket, frame, "ContractNotFound"
        )
        await account.lose("o1", bought=True)
        (row,) = account.deriv.purchases
        for number in range(10):
            account.pushed({**row, "contract_id": 10**6 + number})
        await account.clock.advance(0.6)
        assert 1 <= len(account.deriv.calls("proposal_open_contract")) <= 3
        await account.clock.advance(4)
        assert account.state("o1") == State.CONFIRMED
        await reconciler.stop()

"""Finding lost orders and missed settlements when the records themselves are hard to read."""

# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
import json
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest

from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.orders.denials import DeniedError
from derivfleet.gateway.core.orders.exit import Ending, ExitKind, ExitState, ExitTerms
from derivfleet.gateway.core.orders.order import Attribution, Doubt, Order, State
from derivfleet.gateway.orders.account_orders import AccountOrders
from derivfleet.gateway.orders.exits import ExitOperation

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from conftest import Account, Socket

    Opened = Callable[[], AbstractAsyncContextManager[Account]]
Frame = dict[str, Any]
PRICE = Decimal("0.35")


async def test_a_contract_that_cannot_be_read_does_not_keep_others_from_settling(opened: Opened) -> None:
    async with opened() as account:
        first, _ = await account.buying("o1")
        await account.buying("o2", "two")
        settle = account.sold()

        def contract(socket: Socket, frame: Frame) -> None:
            if frame["contract_id"] == first.contract_id:
                account.deriv.refuse(socket, frame, "ContractNotFound")
            else:
                settle(socket, frame)

        account.deriv.on["proposal_open_contract"] = contract
        reconciler = account.orders.reconciler()
        await account.clock.advance(20)
        assert [account.state(name) for name in ("o1", "o2")] == [State.CONFIRMED, State.SETTLED]
        assert len(account.deriv.calls("proposal_open_contract")) < 12  # and is not asked for without end
        # What the account was paid for it is the last resort.
        account.deriv.sales = [{**account.deriv.purchases[-1], "action_type": "sell", "amount": 0}]
        await account.clock.advance(120)
        settled = account.orders.registry.find("o1")
        assert settled is not None
        assert (settled.state, settled.profit, settled.ending) == (State.SETTLED, -PRICE, Ending.EXPIRED)
        await reconciler.stop()


async def test_contracts_that_cannot_be_read_leave_the_lists_to_lost_orders(opened: Opened) -> None:
    async with opened() as account:
        deriv = account.deriv
        for number in range(40):
            await account.buying(f"o{number}")
        deriv.on |= {
            "proposal_open_contract": lambda socket, frame: deriv.refuse(socket, frame, "ContractNotFound"),
            "portfolio": lambda socket, frame: deriv.refuse(socket, frame, "InternalServerError"),
        }
        reconciler = account.orders.reconciler()
        await account.clock.advance(60)
        looks = len(deriv.calls("statement"))
        await account.clock.advance(120)
        # Each look reads sales and purchases, and they are far between, however many contracts there are.
        assert 12 <= len(deriv.calls("statement")) - looks <= 24
        # One look is for all of them.
        deriv.sales = [{**row, "action_type": "sell", "amount": 0} for row in deriv.purchases]
        await account.clock.advance(60)
        assert {account.state(f"o{number}") for number in range(40)} == {State.SETTLED}
        await reconciler.stop()


@pytest.mark.parametrize("answer", ["an error", "nothing"])
async def test_a_receipt_for_a_contract_that_no_record_knows_is_left_to_an_operator(
    opened: Opened, answer: str
) -> None:
    async with opened() as account:

        def buy(socket: Socket, frame: Frame) -> None:
            receipt = {**account.deriv.bought(frame), "contract_id": 666, "purchase_time": 9_999_999_999}
            account.pushed(account.deriv.purchases[0])
            account.deriv.reply(socket, frame, "buy", receipt)

        account.deriv.on["buy"] = buy
        if answer == "an error":
            account.deriv.on["proposal_open_contract"] = lambda socket, frame: account.deriv.refuse(
                socket, frame, "ContractNotFound"
            )
        wrong, _ = await account.buying("o1")
        assert (wrong.state, wrong.contract_id) == (State.CONFIRMED, 666)
        (row,) = account.deriv.purchases
        reconciler = account.orders.reconciler()
        # What one list does not show, a later one may.
        hidden, account.deriv.purchases = account.deriv.purchases, [{**row, "contract_id": 666}]
        await account.clock.advance(60)
        assert account.state("o1") == State.CONFIRMED
        account.deriv.purchases = hidden
        await account.clock.advance(29)
        assert account.state("o1") == State.CONFIRMED
        await account.clock.advance(91)
        order = account.orders.registry.unknown["o1"]
        assert (order.doubt, order.contract_id) == (Doubt.NO_CONTRACT, 0)
        assert [one.contract_id for one in order.candidates] == [row["contract_id"]]
        # It is not taken for not bought, also after a restart, and is asked about no more.
        asked = len(account.deriv.sent)
        await account.clock.advance(300)
        await reconciler.stop()
        orders = AccountOrders(account.client, account.journal, account.telemetry, "USD")
        orders.recover()
        reconciler = orders.reconciler()
        await account.clock.advance(300)
        assert orders.registry.unknown["o1"].doubt is Doubt.NO_CONTRACT
        assert not {"statement", "portfolio", "proposal_open_contract"} & {
            name for _, frame in account.deriv.sent[asked:] for name in frame
        }
        # A person says which it was.
        account.deriv.on["proposal_open_contract"] = account.shown(is_sold=1, sell_price="0.68", sell_time=9)
        found = await orders.resolve(order, row["contract_id"], "ann")
        assert (found.state, found.attribution) == (State.SETTLED, Attribution.OPERATOR)
        assert orders.evidence.foreign_count == 0
        await reconciler.stop()


async def test_an_exit_asked_for_while_the_records_are_read_is_decided_before_its_receipt_is_disbelieved(
    opened: Opened,
) -> None:
    async with opened() as account:
        deriv = account.deriv
        held: list[tuple[Socket, Frame]] = []
        await account.buying("o1")
        deriv.purchases = []
        deriv.on |= {
            "proposal_open_contract": lambda socket, frame: deriv.refuse(socket, frame, "ContractNotFound"),
            "portfolio": lambda socket, frame: held.append((socket, frame)),
            "sell": lambda socket, frame: held.append((socket, frame)),
        }
        reconciler = account.orders.reconciler()

        async def portfolio_asked() -> tuple[Socket, Frame]:
            while not held:
                await account.clock.advance(1)
            return held.pop()

        deriv.reply(*await portfolio_asked(), "portfolio", {"contracts": []})
        second = await portfolio_asked()
        order = account.orders.registry.open["o1"]
        deadline_ns = account.clock.now_ns() + 10**10
        sale = asyncio.ensure_future(
            account.orders.exits.carry_out(order, "x1", ExitTerms(ExitKind.SELL), deadline_ns, "")
        )
        await account.clock.advance(0.1)
        deriv.reply(*second, "portfolio", {"contracts": []})
        await account.clock.advance(0.1)
        assert account.state("o1") == State.CONFIRMED
        deriv.refuse(*held.pop(), "ContractNotFound")
        _, exit_ = await sale
        assert exit_.state is ExitState.REJECTED
        deriv.reply(*await portfolio_asked(), "portfolio", {"contracts": []})
        await account.clock.advance(1)
        assert (account.state("o1"), account.orders.registry.open["o1"].doubt) == (State.UNKNOWN, Doubt.NO_CONTRACT)
        await reconciler.stop()


def _late_sale(account: Account, order: Order) -> ExitOperation:
    codec = account.pool.login.codec
    return ExitOperation(account.orders.registry, order, "x1", ExitTerms(ExitKind.SELL), codec, account.clock)


async def test_a_sale_of_a_contract_that_no_record_knows_keeps_nobody_waiting(opened: Opened) -> None:
    async with opened() as account:
        deriv = account.deriv
        await account.buying("o1")
        deriv.purchases = []
        deriv.on |= {
            "proposal_open_contract": lambda socket, frame: deriv.refuse(socket, frame, "ContractNotFound"),
            "portfolio": lambda socket, frame: deriv.reply(socket, frame, "portfolio", {"contracts": []}),
            "sell": lambda socket, frame: deriv.refuse(socket, frame, "SomethingOdd"),
        }
        reconciler = account.orders.reconciler()
        deadline_ns = account.clock.now_ns() + 10**10
        order, exit_ = await account.orders.exits.carry_out(
            account.orders.registry.open["o1"], "x1", ExitTerms(ExitKind.SELL), deadline_ns, ""
        )
        assert (order.state, exit_.state) == (State.CONFIRMED, ExitState.UNKNOWN)
        await account.clock.advance(120)
        order = account.orders.registry.open["o1"]
        assert (order.state, order.doubt) == (State.UNKNOWN, Doubt.NO_CONTRACT)
        assert [one.state for one in order.exits] == [ExitState.NOT_DONE]
        # What comes for it after all changes nothing.
        refused: Frame = {"msg_type": "sell", "error": {"code": "ContractNotFound", "message": "so it is"}}
        account.orders.operations._late(_late_sale(account, order), Call.SELL, refused)
        assert account.orders.registry.open["o1"] == order
        await reconciler.stop()


async def test_what_was_looked_at_before_a_person_decided_does_not_count_against_the_decision(opened: Opened) -> None:
    async with opened() as account:
        deriv = account.deriv

        def buy(socket: Socket, frame: Frame) -> None:
            deriv.reply(socket, frame, "buy", {**deriv.bought(frame), "contract_id": 666})

        deriv.on["buy"] = buy
        await account.buying("o1")
        (row,) = deriv.purchases
        refuse = deriv.on["proposal_open_contract"] = lambda socket, frame: deriv.refuse(
            socket, frame, "ContractNotFound"
        )
        reconciler = account.orders.reconciler()
        await account.clock.advance(120)
        assert account.state("o1") == State.UNKNOWN
        deriv.on["proposal_open_contract"] = account.shown()
        await account.orders.resolve(account.orders.registry.unknown["o1"], row["contract_id"], "ann")
        # For a moment nothing shows it.
        deriv.on["proposal_open_contract"], deriv.purchases = refuse, []
        await account.clock.advance(35)
        assert account.state("o1") == State.CONFIRMED
        await reconciler.stop()


@pytest.mark.parametrize(("code", "state"), [("ContractNotFound", State.UNKNOWN), ("InternalServerError", "confirmed")])
async def test_only_a_look_that_was_answered_tells_that_there_is_no_such_contract(
    opened: Opened, code: str, state: str
) -> None:
    async with opened() as account:
        await account.buying("o1")
        account.deriv.purchases = []  # the statement lags
        account.deriv.on["proposal_open_contract"] = lambda socket, frame: account.deriv.refuse(socket, frame, code)
        reconciler = account.orders.reconciler()
        await account.clock.advance(180)
        assert account.state("o1") == state
        await reconciler.stop()


async def test_a_statement_that_cannot_be_read_does_not_keep_contracts_from_settling(opened: Opened) -> None:
    async with opened() as account:
        await account.buying("o1")
        await account.lose("o2", bought=True)

        def statement(socket: Socket, frame: Frame) -> None:
            account.deriv.reply(socket, frame, "statement", {"transactions": [7]})

        account.deriv.on |= {"statement": statement, "proposal_open_contract": account.sold()}
        reconciler = account.orders.reconciler()
        await account.clock.advance(90)
        assert [account.state(name) for name in ("o1", "o2")] == [State.SETTLED, State.UNKNOWN]
        del account.deriv.on["statement"]
        await account.clock.advance(120)
        assert account.state("o2") == State.SETTLED
        await reconciler.stop()


async def test_contracts_that_wait_for_a_resting_limit_keep_no_lost_order_waiting(opened: Opened) -> None:
    async with opened() as account:
        await account.buying("o1")
        await account.lose("o2", bought=False)
        account.client.quota.refused_by_deriv(Call.PROPOSAL_OPEN_CONTRACT, account.clock.now_ns())
        reconciler = account.orders.reconciler()
        await account.clock.advance(45)
        assert account.deriv.calls("proposal_open_contract") == []  # it is overdue, and waits for its turn
        assert [account.state(name) for name in ("o1", "o2")] == [State.CONFIRMED, State.NOT_FOUND]
        await reconciler.stop()


async def test_a_mistake_in_one_turn_does_not_end_reconciling(opened: Opened) -> None:
    async with opened() as account:
        await account.lose("o1", bought=True)
        await account.clock.advance(2)
        reconciler = account.orders.reconciler()
        account.deriv.on["statement"] = lambda socket, frame: socket.put(json.dumps({"req_id": frame["req_id"]}))
        slots, account.pool.slots = account.pool.slots, cast("Any", None)  # stands for any mistake of ours
        await account.clock.advance(5)
        account.pool.slots = slots
        del account.deriv.on["statement"]
        await account.clock.advance(40)
        assert account.state("o1") == State.CONFIRMED
        await reconciler.stop()


async def test_a_lost_order_is_found_behind_hundreds_of_later_purchases(opened: Opened) -> None:
    async with opened() as account:
        account.deriv.on["statement"] = lambda socket, _frame: socket.abort()  # nobody can look at first
        reconciler = account.orders.reconciler()
        await account.lose("o1", bought=True)
        (row,) = account.deriv.purchases
        noise = {**row, "shortcode": "DIGITOVER_1HZ10V_1.00_1795161602_1T_4_0"}
        for number in range(1200):
            account.deriv.purchases.insert(0, {**noise, "contract_id": 10**6 + number})
        del account.deriv.on["statement"]
        await account.clock.advance(60)
        assert account.state("o1") == State.CONFIRMED
        order = account.orders.registry.find("o1")
        assert order is not None
        assert order.contract_id == row["contract_id"]
        await reconciler.stop()


async def test_what_was_never_bought_is_not_found_and_a_later_answer_corrects_it(opened: Opened) -> None:
    async with opened() as account:
        asked: list[tuple[Socket, Frame]] = []
        account.deriv.on["buy"] = lambda socket, frame: asked.append((socket, frame))
        reconciler = account.orders.reconciler()
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
        order = account.orders.registry.find("o1")
        assert isinstance(order, Order)
        assert (order.state, order.reconciled) == (State.CONFIRMED, True)
        assert account.orders.tallies.of("one").open == 1
        await reconciler.stop()


async def test_a_purchase_that_the_statement_shows_late_is_found_by_the_watch(opened: Opened) -> None:
    async with opened() as account:
        reconciler = account.orders.reconciler()
        await account.lose("o1", bought=True)
        later, account.deriv.purchases = account.deriv.purchases, []
        await account.clock.advance(300)
        assert account.state("o1") == State.NOT_FOUND
        account.deriv.purchases = later
        await account.clock.advance(61)
        order = account.orders.registry.find("o1")
        assert order is not None
        assert (order.state, order.found_late, order.attribution) == (State.CONFIRMED, True, Attribution.RECORD)
        assert account.orders.tallies.of("one").found_late == 1
        await reconciler.stop()


async def test_the_watch_goes_on_after_a_restart_and_ends(opened: Opened) -> None:
    async with opened() as account:
        reconciler = account.orders.reconciler()
        await account.lose("o1", bought=False)
        await account.clock.advance(40)
        assert account.state("o1") == State.NOT_FOUND
        await reconciler.stop()
        orders = AccountOrders(account.client, account.journal, account.telemetry, "USD")
        orders.recover()
        assert list(orders.registry.watched) == ["o1"]
        reconciler = orders.reconciler()
        reads = len(account.deriv.calls("statement"))
        await account.clock.advance(700)
        assert reads + 9 <= len(account.deriv.calls("statement")) <= reads + 13
        assert orders.registry.watched == {}
        await reconciler.stop()


async def test_fewer_purchases_than_orders_alike_are_given_out_when_the_records_have_had_their_time(
    opened: Opened,
) -> None:
    async with opened() as account:
        reconciler = account.orders.reconciler()
        await account.lose("o1", bought=False)
        await account.lose("o2", bought=True)
        await account.clock.advance(25)
        assert [account.state(name) for name in ("o1", "o2")] == [State.UNKNOWN] * 2
        await account.clock.advance(10)
        assert Counter(account.state(name) for name in ("o1", "o2")) == {State.CONFIRMED: 1, State.NOT_FOUND: 1}
        assert account.orders.evidence.foreign_count == 0
        await reconciler.stop()


async def test_more_purchases_than_orders_alike_are_left_to_an_operator(opened: Opened) -> None:
    async with opened() as account:
        reconciler = account.orders.reconciler()
        await account.lose("o1", bought=True)
        bought = account.deriv.purchases[0]
        contract_id = bought["contract_id"]
        account.deriv.purchases.append({**bought, "contract_id": 77, "transaction_id": 99_999})
        await account.clock.advance(5)
        order = account.orders.registry.unknown["o1"]
        assert order.doubt is Doubt.MORE_CANDIDATES
        assert [one.contract_id for one in order.candidates] == [contract_id, 77]
        # The same bot buys no more of that kind; others, and other kinds, go on.
        with pytest.raises(DeniedError, match="orders resolve o1"):
            await account.buying("o3")
        assert (await account.buying("o4", "two"))[0].state is State.CONFIRMED
        written = account.feed.last_position
        await account.clock.advance(300)
        assert account.feed.last_position == written  # a doubt is written down once
        # A restart keeps the doubts, and does not take them back before it has read.
        await reconciler.stop()
        orders = AccountOrders(account.client, account.journal, account.telemetry, "USD")
        orders.recover()
        reconciler = orders.reconciler()
        await account.clock.advance(60)
        assert [order.doubt for order in orders.registry.unknown.values()] == [Doubt.MORE_CANDIDATES]
        assert account.journal.last_position == written
        await reconciler.stop()
        reconciler = account.orders.reconciler()
        await account.clock.advance(60)
        account.deriv.on["proposal_open_contract"] = account.shown()
        order = await account.orders.resolve(account.orders.registry.unknown["o1"], contract_id, "ann")
        assert (order.state, order.attribution, order.resolved_by) == (State.CONFIRMED, Attribution.OPERATOR, "ann")
        assert (await account.buying("o3"))[0].state is State.CONFIRMED
        await reconciler.stop()


async def test_an_operator_cannot_say_what_cannot_be(opened: Opened) -> None:
    async with opened() as account:
        bought, _ = await account.buying("o1")
        await account.lose("o2", bought=True)
        account.deriv.on["proposal_open_contract"] = account.shown()
        lost = account.orders.registry.unknown["o2"]
        with pytest.raises(DeniedError, match="belongs to another order"):
            await account.orders.resolve(lost, bought.contract_id, "ann")
        account.deriv.on["proposal_open_contract"] = account.shown(shortcode="DIGITOVER_1HZ100V_1.00_9_1T_5_0")
        with pytest.raises(DeniedError, match="another barrier"):
            await account.orders.resolve(lost, account.deriv.purchases[0]["contract_id"], "ann")
        account.deriv.on["proposal_open_contract"] = account.shown(shortcode="MULTUP_R_100_10.00_30_1_2_0_0.00_N1")
        with pytest.raises(DeniedError, match="no contract"):
            await account.orders.resolve(lost, account.deriv.purchases[0]["contract_id"], "ann")
        with pytest.raises(DeniedError, match="nothing to resolve"):
            await account.orders.resolve(bought, 0, "ann")
        assert account.state("o2") == State.UNKNOWN
        order = await account.orders.resolve(lost, 0, "ann")
        assert (order.state, order.resolved_by, order.answered_time_ns) == (
            State.NOT_FOUND,
            "ann",
            account.clock.now_ns(),
        )


async def test_records_that_nobody_can_read_are_a_doubt_that_ends_with_the_first_read(opened: Opened) -> None:
    async with opened() as account:
        reconciler = account.orders.reconciler()
        await account.lose("o1", bought=True)
        for call in ("statement", "portfolio"):
            account.deriv.on[call] = lambda socket, frame: account.deriv.refuse(socket, frame, "InternalServerError")
        await account.clock.advance(58)
        assert account.orders.registry.unknown["o1"].doubt is Doubt.NONE
        await account.clock.advance(5)
        assert account.orders.registry.unknown["o1"].doubt is Doubt.UNREADABLE
        account.deriv.on.clear()
        await account.clock.advance(5)
        assert account.state("o1") == State.CONFIRMED
        await reconciler.stop()


async def test_a_restart_makes_sent_unknown_and_never_sends_again(opened: Opened) -> None:
    async with opened() as account:

        def buy(_socket: Socket, frame: Frame) -> None:
            account.deriv.bought(frame)

        account.deriv.on["buy"] = buy
        first = account.buying("o1")
        await account.clock.settle()
        orders = AccountOrders(account.client, account.journal, account.telemetry, "USD")
        orders.recover()
        order = orders.registry.unknown["o1"]
        assert (order.state, order.error_code) == (State.UNKNOWN, "ABANDONED")
        reconciler = orders.reconciler()
        await account.clock.advance(4)
        found = orders.registry.find("o1")
        assert found is not None
        assert (found.state, found.attribution) == (State.CONFIRMED, Attribution.RECORD)
        again, _ = await orders.purchases.buy("one", "o1", found.terms, 0, "", lambda: True)
        assert again == found
        assert len(account.deriv.calls("buy")) == 1
        await reconciler.stop()
        first.cancel()

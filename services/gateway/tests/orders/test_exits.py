"""Sales whose answers are lost, doubled, late or wrong: done once, and known."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.orders.denials import DeniedError, LimitReached
from derivfleet.gateway.core.orders.exit import Ending, Exit, ExitKind, ExitState, ExitTerms
from derivfleet.gateway.core.orders.order import Order, OrderTerms, State
from derivfleet.gateway.core.orders.transitions import Settled
from derivfleet.gateway.orders.account_orders import AccountOrders

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

    from conftest import Account, Socket

    Opened = Callable[[], AbstractAsyncContextManager[Account]]
    Held = Callable[[], AbstractAsyncContextManager["Position"]]
Frame = dict[str, Any]
SALE = ExitTerms(ExitKind.SELL)
TIMED = OrderTerms("CALL", "R_100", Decimal(10), 5, "m")


class Position:
    """A timed contract that was bought, and what Deriv does with it."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.sold = False
        self.is_sold_by: str = ""
        self.limits: Frame = {}
        account.deriv.on |= {"sell": self.sell, "proposal_open_contract": self.show}

    @property
    def order(self) -> Order:
        order = self.account.orders.registry.find("o1")
        assert order is not None
        return order

    @property
    def exit(self) -> Exit:
        return self.order.exits[-1]

    def sell(self, socket: Socket, frame: Frame) -> None:
        if self.sold:
            self.account.deriv.refuse(socket, frame, "ContractAlreadySold")
            return
        self.sold, self.is_sold_by = True, "sold"
        self.account.deriv.reply(socket, frame, "sell", self.receipt)

    @property
    def receipt(self) -> Frame:
        return {
            "contract_id": self.order.contract_id,
            "sold_for": "12.50",
            "transaction_id": 77,
            "reference_id": 1,
            "balance_after": 1,
        }

    def show(self, socket: Socket, frame: Frame) -> None:
        ended = {"sell_price": "12.50", "sell_time": 9, "transaction_ids": {"sell": 77}, "status": self.is_sold_by}
        contract = {
            "contract_id": self.order.contract_id,
            "is_sold": int(self.sold),
            "buy_price": "10",
            "limit_order": self.limits,
            **(ended if self.sold else {"status": "open"}),
        }
        self.account.deriv.reply(socket, frame, "proposal_open_contract", contract)

    def exiting(
        self, exit_id: str = "", terms: ExitTerms = SALE, deadline_s: float = 30
    ) -> asyncio.Task[tuple[Order, Exit]]:
        deadline_ns = self.account.clock.now_ns() + round(deadline_s * 1e9)
        return asyncio.ensure_future(self.account.orders.exits.carry_out(self.order, exit_id, terms, deadline_ns, ""))

    def lose(self, *, done: bool) -> None:
        """Let the next sale's socket die instead of the answer."""

        def sell(socket: Socket, _frame: Frame) -> None:
            self.sold, self.is_sold_by = done, "sold" if done else ""
            socket.abort()
            self.account.deriv.on["sell"] = self.sell

        self.account.deriv.on["sell"] = sell

    @property
    def frames(self) -> int:
        return len(self.account.deriv.calls("sell"))


@pytest.fixture
def held(opened: Opened) -> Callable[[], AbstractAsyncContextManager[Position]]:
    """Make an account with an open timed contract, reconciled."""

    @asynccontextmanager
    async def make() -> AsyncGenerator[Position, None]:
        async with opened() as account:
            deadline_ns = account.clock.now_ns() + 10**10
            await account.orders.purchases.buy("one", "o1", TIMED, deadline_ns, "", lambda: True)
            reconciler = account.orders.reconciler()
            yield Position(account)
            await reconciler.stop()

    return make


async def test_a_sale_is_written_down_before_its_frame_leaves_and_settles_the_order(held: Held) -> None:
    async with held() as position:
        seen: list[tuple[ExitState, ExitState]] = []

        def sell(socket: Socket, frame: Frame) -> None:
            written = position.account.journal.order("demo", "o1")
            assert written is not None
            seen.append((written.exits[-1].state, position.exit.state))
            position.sell(socket, frame)

        position.account.deriv.on["sell"] = sell
        order, done = await position.exiting("mine")
        assert seen == [(ExitState.SENT, ExitState.SENT)]
        assert (order.state, order.ending, order.profit) == (State.SETTLED, Ending.SOLD, Decimal("2.50"))
        assert (done.state, done.amount, done.transaction_id) == (ExitState.DONE, Decimal("12.50"), 77)
        # The same id, the same answer, also when nothing is open any more.
        assert await position.exiting("mine") == (order, done)
        assert position.frames == 1
        with pytest.raises(DeniedError, match="not open"):
            await position.exiting("other")


async def test_many_askers_sell_once(held: Held) -> None:
    async with held() as position:
        waiting: list[tuple[Socket, Frame]] = []
        position.account.deriv.on["sell"] = lambda socket, frame: waiting.append((socket, frame))
        tasks = [position.exiting(name) for name in ("", "", "sell-1", "")]
        await position.account.clock.settle()
        with pytest.raises(DeniedError, match="wait until it is decided"):
            await position.exiting("another")
        with pytest.raises(DeniedError, match="min_price"):
            await position.exiting("sell-1", ExitTerms(ExitKind.SELL, Decimal(12)))
        position.sell(*waiting[0])
        answers = await asyncio.gather(*tasks)
        assert len(waiting) == 1
        assert {one.exit_id for _, one in answers} == {"sell-1"}
        assert {one.state for _, one in answers} == {ExitState.DONE}


@pytest.mark.parametrize("done", [True, False])
async def test_a_lost_answer_is_unknown_until_the_contract_itself_tells(held: Held, *, done: bool) -> None:
    async with held() as position:
        position.lose(done=done)
        order, one = await position.exiting("mine")
        assert (order.state, one.state, one.error_code) == (State.CONFIRMED, ExitState.UNKNOWN, "ConnectionClosed")
        with pytest.raises(DeniedError, match="wait until it is decided"):
            await position.exiting("again")
        assert (await position.exiting("mine"))[1].state is ExitState.UNKNOWN
        assert position.frames == 1
        await position.account.clock.advance(1)
        assert position.exit.state is (ExitState.DONE if done else ExitState.UNKNOWN)
        await position.account.clock.advance(7)
        assert position.exit.state is (ExitState.DONE if done else ExitState.NOT_DONE)
        assert position.order.state is (State.SETTLED if done else State.CONFIRMED)
        assert position.frames == 1
        if not done:
            order, again = await position.exiting("again")
            assert (order.state, again.state) == (State.SETTLED, ExitState.DONE)
            assert position.frames == 2


async def test_one_look_at_the_contract_proves_what_became_of_a_lost_sale(held: Held) -> None:
    async with held() as position:
        position.lose(done=True)
        await position.exiting("mine")
        looks = len(position.account.deriv.calls("proposal_open_contract"))
        await position.account.clock.advance(20)
        assert len(position.account.deriv.calls("proposal_open_contract")) == looks + 1
        assert (position.order.ending, position.exit.transaction_id) == (Ending.SOLD, 77)


async def test_a_contract_that_ended_by_itself_was_not_sold(held: Held) -> None:
    async with held() as position:
        position.lose(done=False)
        await position.exiting("mine")
        position.sold, position.is_sold_by = True, "won"
        await position.account.clock.advance(1)
        assert (position.order.state, position.order.ending) == (State.SETTLED, Ending.EXPIRED)
        assert position.exit.state is ExitState.NOT_DONE


async def test_a_refusal_that_proves_it_is_final_and_another_sale_may_follow(held: Held) -> None:
    async with held() as position:
        position.account.deriv.on["sell"] = lambda socket, frame: position.account.deriv.refuse(
            socket, frame, "PriceMoved"
        )
        _, refused = await position.exiting("mine", ExitTerms(ExitKind.SELL, Decimal(99)))
        assert (refused.state, refused.error_code) == (ExitState.REJECTED, "PriceMoved")
        assert (await position.exiting("mine", ExitTerms(ExitKind.SELL, Decimal(99))))[1] == refused
        assert position.frames == 1
        position.account.deriv.on["sell"] = position.sell
        assert (await position.exiting())[0].state is State.SETTLED


@pytest.mark.parametrize("code", ["InternalServerError", "NeverHeardOf", "OutputValidationFailed"])
async def test_a_refusal_that_proves_nothing_is_unknown(held: Held, code: str) -> None:
    async with held() as position:

        def sell(socket: Socket, frame: Frame) -> None:
            position.sold, position.is_sold_by = True, "sold"
            position.account.deriv.refuse(socket, frame, code)

        position.account.deriv.on["sell"] = sell
        _, one = await position.exiting("mine")
        assert (one.state, one.error_code) == (ExitState.UNKNOWN, code)
        await position.account.clock.advance(1)
        assert position.order.state is State.SETTLED


async def test_a_receipt_that_nobody_can_read_is_unknown(held: Held) -> None:
    async with held() as position:

        def sell(socket: Socket, frame: Frame) -> None:
            position.sold, position.is_sold_by = True, "sold"
            position.account.deriv.reply(socket, frame, "sell", {"sold_for": "much"})

        position.account.deriv.on["sell"] = sell
        _, one = await position.exiting("mine")
        assert (one.state, one.error_code) == (ExitState.UNKNOWN, "MalformedAnswer")
        await position.account.clock.advance(1)
        assert position.order.state is State.SETTLED


async def test_a_late_answer_is_as_good_as_one_in_time(held: Held) -> None:
    async with held() as position:
        asked: list[tuple[Socket, Frame]] = []
        position.account.deriv.on["sell"] = lambda socket, frame: asked.append((socket, frame))
        selling = position.exiting("mine")
        await position.account.clock.advance(16)
        assert (await selling)[1].state is ExitState.UNKNOWN
        await position.account.clock.advance(10)
        assert position.exit.state is ExitState.NOT_DONE
        position.account.deriv.reply(*asked[0], "sell", position.receipt)
        await position.account.clock.advance(0.1)
        assert (position.order.state, position.exit.state) == (State.SETTLED, ExitState.DONE)


async def test_news_of_the_sale_may_overtake_its_receipt(held: Held) -> None:
    async with held() as position:

        def sell(socket: Socket, frame: Frame) -> None:
            now_s = int(position.account.clock.now_s())
            position.account.orders.settlements.settle(position.order.contract_id, Settled(Decimal("12.50"), now_s))
            position.sell(socket, frame)

        position.account.deriv.on["sell"] = sell
        order, one = await position.exiting("mine")
        assert (order.state, order.ending) == (State.SETTLED, Ending.SOLD)
        assert (one.state, one.transaction_id) == (ExitState.DONE, 77)


async def test_a_restart_makes_a_sent_exit_unknown_and_never_sends_it_again(held: Held) -> None:
    async with held() as position:
        account = position.account
        position.account.deriv.on["sell"] = lambda _socket, _frame: None
        selling = position.exiting("mine")
        await account.clock.settle()
        assert position.exit.state is ExitState.SENT
        orders = AccountOrders(account.client, account.journal, account.telemetry, "USD")
        orders.recover()
        (one,) = orders.registry.open["o1"].exits
        assert (one.state, one.error_code) == (ExitState.UNKNOWN, "ABANDONED")
        position.sold, position.is_sold_by = True, "sold"
        reconciler = orders.reconciler()
        await account.clock.advance(1)
        found = orders.registry.find("o1")
        assert found is not None
        assert (found.state, found.exits[-1].state) == (State.SETTLED, ExitState.DONE)
        assert position.frames == 1
        await reconciler.stop()
        selling.cancel()


async def test_what_cannot_be_sent_in_time_is_not_written_down(held: Held) -> None:
    async with held() as position:
        account = position.account
        now_ns = account.clock.now_ns()
        while account.quota.forecast("one", Call.SELL, now_ns).wait_ns == 0:
            ticket = account.quota.ask("one", Call.SELL, now_ns, now_ns)
            account.quota.dispatch(now_ns)
            account.quota.landed(ticket, now_ns)  # pyright: ignore[reportArgumentType] - there was room
        written = account.feed.last_position
        with pytest.raises(DeniedError) as caught:
            await position.exiting("mine", deadline_s=0)
        assert isinstance(caught.value.denial, LimitReached)
        assert account.feed.last_position == written
        await account.orders.drain(0.01)
        with pytest.raises(DeniedError, match="the gateway is ending"):
            await position.exiting("mine")


async def test_cancelling_and_updating_are_exits_too(held: Held) -> None:
    async with held() as position:
        account, refuse = position.account, position.account.deriv.refuse
        account.deriv.on["cancel"] = lambda socket, frame: refuse(socket, frame, "CannotCancelContract")
        account.deriv.on["contract_update"] = lambda socket, frame: refuse(socket, frame, "ContractUpdateNotAllowed")
        _, cancelled = await position.exiting("", ExitTerms(ExitKind.CANCEL))
        assert (cancelled.exit_id, cancelled.state) == ("cancel-1", ExitState.REJECTED)
        change = ExitTerms(ExitKind.UPDATE, limits=(("take_profit", Decimal("2.50")), ("stop_loss", None)))
        _, updated = await position.exiting("", change)
        assert (updated.exit_id, updated.state) == ("update-2", ExitState.REJECTED)
        (frame,) = account.deriv.calls("contract_update")
        assert frame["limit_order"] == {"take_profit": 2.5, "stop_loss": None}
        assert position.order.state is State.CONFIRMED


@pytest.mark.parametrize("done", [True, False])
async def test_a_lost_update_is_proved_by_the_contract_s_limit_orders(held: Held, *, done: bool) -> None:
    async with held() as position:
        account = position.account

        def update(socket: Socket, frame: Frame) -> None:
            if done:
                amount = frame["limit_order"]["stop_loss"]
                position.limits = {"stop_loss": {"order_amount": str(-amount), "display_name": "Stop loss"}}
            socket.abort()

        account.deriv.on["contract_update"] = update
        change = ExitTerms(ExitKind.UPDATE, limits=(("stop_loss", Decimal("2.50")),))
        _, lost = await position.exiting("", change)
        assert lost.state is ExitState.UNKNOWN
        await account.clock.advance(8)
        assert position.exit.state is (ExitState.DONE if done else ExitState.NOT_DONE)
        assert len(account.deriv.calls("contract_update")) == 1


async def test_a_lost_cancellation_is_proved_by_how_the_contract_ended(held: Held) -> None:
    async with held() as position:

        def cancel(socket: Socket, _frame: Frame) -> None:
            position.sold, position.is_sold_by = True, "cancelled"
            socket.abort()

        position.account.deriv.on["cancel"] = cancel
        await position.exiting("", ExitTerms(ExitKind.CANCEL))
        await position.account.clock.advance(1)
        assert (position.order.ending, position.exit.state) == (Ending.CANCELLED, ExitState.DONE)

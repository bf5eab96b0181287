"""Orders when things go wrong at the worst moment."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from derivfleet.connection.connection import AnswerLostError
from derivfleet.deriv import requests
from derivfleet.deriv.vocabulary import Call
from derivfleet.gateway.core.orders.denials import DeniedError, JournalNotWritten, LimitReached
from derivfleet.gateway.core.orders.order import Attribution, State
from derivfleet.gateway.core.orders.transitions import Settled

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from conftest import Account, Socket

    Opened = Callable[[], AbstractAsyncContextManager[Account]]
Frame = dict[str, Any]
PRICE = Decimal("0.68")
FAR = 10**12
"""Positions that are not reached."""


def fill_disk(account: Account) -> None:
    """Let SQLite find no room for another page, as on a full disk."""
    database = account.store._db  # pyright: ignore[reportPrivateUsage] - the disk cannot be filled from outside
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count={pages}")
    for index in range(2000):  # fill what room its pages have
        try:
            database.execute("INSERT INTO events VALUES (?, '-', 0, ?)", (FAR + index, "x" * 40))
        except Exception:  # noqa: BLE001 - full now
            return
    raise AssertionError("the disk is not full")


def free_disk(account: Account) -> None:
    database = account.store._db  # pyright: ignore[reportPrivateUsage] - as above
    database.execute("PRAGMA max_page_count=100000")
    database.execute("DELETE FROM events WHERE position >= ?", (FAR,))


@pytest.mark.parametrize("error", ["boom", ["boom"], {"message": "no code"}, {"code": {}}])
async def test_an_error_without_form_leaves_the_order_unknown(opened: Opened, error: object) -> None:
    async with opened() as account:

        def answer(socket: Socket, frame: Frame) -> None:
            socket.put(json.dumps({"msg_type": "buy", "req_id": frame["req_id"], "echo_req": frame, "error": error}))

        account.deriv.on["buy"] = answer
        account.deriv.on["time"] = answer
        order, _ = await account.buying("o1")
        assert (order.state, order.error_code) == (State.UNKNOWN, "MalformedAnswer")
        with pytest.raises(AnswerLostError, match="MalformedAnswer"):
            await account.client.call("one", requests.Time())


async def test_a_full_disk_opens_nothing_and_what_is_open_goes_on_to_its_end(opened: Opened) -> None:
    async with opened() as account:

        def buy(socket: Socket, frame: Frame) -> None:
            fill_disk(account)
            account.deriv.answer(socket, frame)

        account.deriv.on["buy"] = buy
        order, _ = await account.buying("o1")
        assert (order.state, account.journal.unwritten) == (State.CONFIRMED, 1)
        with pytest.raises(DeniedError, match="disk is full"):  # nothing new is bought meanwhile
            await account.buying("o2")
        assert account.orders.registry.find("o2") is None
        assert len(account.deriv.purchases) == 1
        account.orders.settlements.settle(order.contract_id, Settled(PRICE, 5))
        assert account.state("o1") == State.SETTLED
        assert account.feed.last_position == 2  # others are told of what is written only
        free_disk(account)
        account.journal.retry()
        states = [event.order.state for event in account.journal.events("demo", 0, 9)]
        assert states == [State.INTENDED, State.SENT, State.CONFIRMED, State.SETTLED]
        assert (account.feed.last_position, account.journal.trouble) == (4, "")


async def test_an_order_that_cannot_be_marked_as_sent_is_not_sent(opened: Opened) -> None:
    async with opened() as account:
        account.deriv.refuses_login = OSError()
        for socket in account.deriv.sockets:
            socket.abort()
        await account.clock.advance(0.01)
        buying = account.buying("o1", deadline_s=120)
        await account.clock.advance(1)
        fill_disk(account)
        account.deriv.refuses_login = None
        await account.clock.advance(60)
        order, _ = await buying
        assert (order.state, order.error_code) == (State.DENIED, "JOURNAL_NOT_WRITTEN")
        assert account.deriv.calls("buy") == []
        assert account.orders.registry.open == {}
        with pytest.raises(DeniedError, match="disk is full") as caught:
            await account.buying("o2")
        assert isinstance(caught.value.denial, JournalNotWritten)
        free_disk(account)
        account.journal.retry()
        assert [event.order.state for event in account.journal.events("demo", 0, 9)] == [State.INTENDED, State.DENIED]


async def test_a_purchase_that_fails_in_an_unforeseen_way_ends_in_a_state(opened: Opened) -> None:
    async with opened() as account:

        def encode(*_: object) -> Frame:
            raise ValueError("no JSON number says exactly this")

        for slot in account.pool.slots.values():
            assert slot.connection is not None
            slot.connection._codec = _Broken(encode)  # type: ignore[assignment]  # pyright: ignore[reportPrivateUsage, reportAttributeAccessIssue] - stands for any mistake
        order, _ = await account.buying("o1")
        assert (order.state, order.error_code) == (State.UNKNOWN, "ABANDONED")


class _Broken:
    def __init__(self, encode: Callable[..., Frame]) -> None:
        self.encode_request = encode


async def test_a_late_receipt_for_a_contract_that_another_order_got_waits_for_its_own(opened: Opened) -> None:
    async with opened() as account:
        held: list[tuple[Socket, Frame, Frame]] = []

        def buy(socket: Socket, frame: Frame) -> None:
            held.append((socket, frame, account.deriv.bought(frame)))

        account.deriv.on["buy"] = buy
        first, second = account.buying("o1"), account.buying("o2", "two")
        await account.clock.advance(16)
        assert {(await first)[0].state, (await second)[0].state} == {State.UNKNOWN}
        # The records tell of both, and which is which is inferred; then a receipt names the other one's.
        reconciler = account.orders.reconciler()
        await account.clock.advance(2)
        orders = [account.orders.registry.open[name] for name in ("o1", "o2")]
        assert [order.attribution for order in orders] == [Attribution.INFERRED] * 2
        socket, frame, _ = held[1]
        account.deriv.reply(socket, frame, "buy", held[0][2])
        await account.clock.advance(0.1)
        assert [account.orders.registry.open[name] for name in ("o1", "o2")] == orders
        assert {order.contract_id for order in orders} == {row["contract_id"] for row in account.deriv.purchases}
        await reconciler.stop()


async def test_a_receipt_in_time_for_a_contract_that_another_order_got_waits_for_its_own(opened: Opened) -> None:
    async with opened() as account:
        rest: list[tuple[Socket, Frame]] = []
        account.deriv.on["buy"] = lambda socket, frame: rest.append((socket, frame))
        second = account.buying("o2", "two")
        await account.clock.advance(0.1)
        del account.deriv.on["buy"]
        first, _ = await account.buying("o1")
        receipt = {**account.deriv.bought(rest[0][1]), "contract_id": first.contract_id}
        account.deriv.reply(*rest[0], "buy", receipt)
        order, _ = await second
        assert (order.state, order.error_code) == (State.UNKNOWN, "CONTRACT_TAKEN")
        reconciler = account.orders.reconciler()
        await account.clock.advance(3)
        order = account.orders.registry.open["o2"]
        assert (order.state, order.attribution) == (State.CONFIRMED, Attribution.RECORD)
        assert order.contract_id != first.contract_id
        await reconciler.stop()


async def test_an_ending_gateway_takes_no_new_orders_and_loses_none(opened: Opened) -> None:
    async with opened() as account:
        account.deriv.on["buy"] = lambda _socket, _frame: None
        sent = account.buying("sent")
        await account.clock.settle()
        account.fill(Call.BUY)  # so that the next one has to wait
        waiting = account.buying("waiting", deadline_s=100)
        await account.clock.settle()
        assert (account.state("sent"), account.state("waiting")) == (State.SENT, State.INTENDED)
        await account.orders.drain(0.01)
        assert (await waiting)[0].error_code == "NOT_SENT"
        with pytest.raises(DeniedError, match="the gateway is ending"):
            await account.buying("new")
        assert account.orders.registry.find("new") is None
        await account.pool.close()
        await account.orders.close()
        assert (await sent)[0].state == State.UNKNOWN
        assert [frame["buy"] for frame in account.deriv.calls("buy")] == ["1"]


async def test_a_sale_that_overtakes_the_receipt_settles_the_order(opened: Opened) -> None:
    async with opened() as account:

        def buy(socket: Socket, frame: Frame) -> None:
            receipt = account.deriv.bought(frame)
            account.orders.settlements.settle(receipt["contract_id"], Settled(PRICE, 5))
            account.deriv.reply(socket, frame, "buy", receipt)

        account.deriv.on["buy"] = buy
        order, _ = await account.buying("o1")
        assert (order.state, order.profit) == (State.SETTLED, PRICE - order.buy_price)
        assert account.orders.evidence.foreign_count == 0


async def test_an_order_whose_lease_ends_while_it_waits_for_its_turn_is_not_sent(
    opened: Opened,
) -> None:
    async with opened() as account:
        account.fill(Call.BUY)
        buying = account.buying("o1", deadline_s=100)
        await account.clock.settle()
        assert account.state("o1") == State.INTENDED
        account.has_lease = False
        await account.clock.advance(70)
        order, _ = await buying
        assert (order.state, order.error_code) == (State.DENIED, "LEASE_LOST")


async def test_a_purchase_without_a_chance_is_no_order_and_its_id_stays_free(opened: Opened) -> None:
    async with opened() as account:
        account.fill(Call.BUY)
        with pytest.raises(DeniedError) as caught:
            await account.buying("late", deadline_s=0)
        assert isinstance(caught.value.denial, LimitReached)
        assert caught.value.denial.binding == "trade/60s"
        unwritten = account.orders.tallies.of("one").unwritten
        bought, written = len(account.deriv.calls("buy")), account.feed.last_position
        for _ in range(100):
            with pytest.raises(DeniedError, match="would start in"):
                await account.buying("late", deadline_s=0)
        assert (len(account.deriv.calls("buy")), account.feed.last_position) == (bought, written)
        assert account.orders.registry.find("late") is None
        tally = account.orders.tallies.of("one")
        assert (tally.denied, tally.unwritten) == (0, unwritten + 100)
        await account.clock.advance(61)
        order, _ = await account.buying("late", deadline_s=1)
        assert order.state is State.CONFIRMED


async def test_a_flood_that_comes_at_once_is_refused_before_it_is_orders_and_none_expires_later(opened: Opened) -> None:
    async with opened() as account:
        account.deriv.on["buy"] = account.deriv.answer
        flood = [account.buying(f"o{number}", deadline_s=90) for number in range(2000)]
        await account.clock.settle()
        refused = [task for task in flood if task.done() and isinstance(task.exception(), DeniedError)]
        waiting = len(flood) - len(refused)
        assert account.feed.last_position < len(flood)
        assert 0 < waiting < len(flood) / 2
        await account.clock.advance(200)
        await asyncio.gather(*flood, return_exceptions=True)
        states = Counter(account.state(f"o{number}") for number in range(2000))
        assert states == {State.CONFIRMED: waiting, "": len(refused)}


async def test_the_place_of_a_purchase_that_cannot_be_written_down_is_given_back(opened: Opened) -> None:
    async with opened() as account:
        before = [use.used for use in account.quota.use(account.clock.now_ns())]
        fill_disk(account)
        for number in range(3):
            with pytest.raises(DeniedError) as caught:
                await account.buying(f"o{number}")
            assert isinstance(caught.value.denial, JournalNotWritten)
        assert [use.used for use in account.quota.use(account.clock.now_ns())] == before
        free_disk(account)
        order, _ = await account.buying("o1")
        assert order.state is State.CONFIRMED

"""A bot against a scripted peer: what it does when all is well, and when the gateway is away, silent or says no."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

import grpc
import pytest
import structlog

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.rpc.status import Problem
from derivfleet.v1 import orders_pb2
from tests.ports import free_port

if TYPE_CHECKING:
    from conftest import Peer, Start


async def test_a_trade_is_decided_bought_followed_and_traced(peer: Peer, trading: Start) -> None:
    with structlog.testing.capture_logs() as logs:
        async with trading() as run:
            await run.ticks_until(lambda: len(peer.asked) == 1 and bool(run.trader.followed_orders))
            (order_id,) = peer.asked
            peer.settle(order_id, "0.22")
            await run.eventually(lambda: run.trader.counters.settled == 1)
    terms = peer.orders[order_id].terms
    assert (terms.contract_type, terms.symbol, terms.stake) == ("DIGITOVER", "R_100", "0.35")
    assert (terms.duration, terms.duration_unit, terms.barrier) == (1, "t", "4")
    assert run.trader.counters.profit == Decimal("0.22")

    (trade,), (decide,), (buy,), (follow,) = (
        run.named(name) for name in ("trade", "trade.decide", "trade.buy", "trade.follow")
    )
    assert trade.context is not None
    assert all(child.parent and child.parent.span_id == trade.context.span_id for child in (decide, buy, follow))
    told = dict(trade.attributes or {})
    assert told["derivfleet.order_id"] == order_id
    assert (told["derivfleet.state"], told["derivfleet.profit"], told["derivfleet.stake"]) == (
        "settled",
        "0.22",
        "0.35",
    )
    assert buy.context is not None
    assert f"{buy.context.span_id:016x}" in peer.traces[0]
    about_order = [line for line in logs if "order_id" in line]
    assert [line["event"] for line in about_order] == ["decided", "order open", "trade ended"]
    assert {line["trace_id"] for line in about_order} == {f"{trade.context.trace_id:032x}"}


async def test_a_gateway_that_is_not_there_yet_is_waited_for_and_said_once(peer: Peer, trading: Start) -> None:
    port = free_port()
    with structlog.testing.capture_logs() as logs:
        async with trading(port) as run:
            await run.eventually(lambda: any(line["event"] == "gateway not there yet, retrying" for line in logs))
            await asyncio.sleep(0.3)  # several attempts
            assert not run.task.done()
            await peer.start(port)
            await run.ticks_until(lambda: len(peer.asked) == 1)
    assert [line["event"] for line in logs if line["event"].startswith("gateway")] == [
        "gateway not there yet, retrying",
        "gateway is there",
    ]


async def test_silence_on_buy_is_answered_with_the_same_order_id(peer: Peer, trading: Start) -> None:
    peer.buys = [
        Problem(grpc.StatusCode.UNAVAILABLE, "RESTARTING", "back soon", retry_after_s=0.02),
        orders_pb2.ORDER_STATE_CONFIRMED,
    ]
    async with trading() as run:
        await run.ticks_until(lambda: bool(run.trader.followed_orders))
        assert len(peer.asked) == 2
        assert peer.asked[0] == peer.asked[1]
        peer.settle(peer.asked[0], "0.22")
        await run.eventually(lambda: run.trader.counters.settled == 1)
    failed, good = run.named("trade.buy")
    assert dict(failed.attributes or {})["derivfleet.error_code"] == "RESTARTING"
    assert "derivfleet.error_code" not in dict(good.attributes or {})


async def test_an_order_nobody_answers_for_is_looked_for_not_bought_late(peer: Peer, trading: Start) -> None:
    silence = Problem(grpc.StatusCode.INTERNAL, "BROKEN", "no idea", retry_after_s=peer.clock.wall_s(6))
    peer.buys = [silence, silence]
    async with trading() as run:
        await run.ticks_until(lambda: len(peer.asked) >= 3)
        first = peer.asked[0]
        assert peer.checked == [first]
        assert peer.asked[2] != first
        assert all(at < int(first.split(":")[2]) + 15 for at in peer.asked_at[:2])
    outcomes = [dict(span.attributes or {})["derivfleet.state"] for span in run.named("trade")]
    assert outcomes[0] == "lapsed"


async def test_a_limit_is_respected_for_as_long_as_it_says(peer: Peer, trading: Start) -> None:
    four_s = peer.clock.wall_s(4)
    limit = Problem(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA", "wait", limit="trade/60s", retry_after_s=four_s)
    peer.buys = [limit]
    async with trading() as run:
        await run.ticks_until(lambda: len(peer.asked) >= 2)
        assert peer.asked_at[1] - peer.asked_at[0] >= 3.9
        assert peer.asked[0] != peer.asked[1]
    assert run.trader.counters.errors == 1


@pytest.mark.parametrize(
    "denial",
    [
        Problem(grpc.StatusCode.FAILED_PRECONDITION, "ORDER_DIFFERS", "same id, other terms"),
        Problem(grpc.StatusCode.ABORTED, "DRAINING", "was not sent", metadata={"final": "true"}),
    ],
    ids=lambda denial: denial.reason,
)
async def test_a_denied_order_ends_the_trade_with_its_reason(peer: Peer, trading: Start, denial: Problem) -> None:
    peer.buys = [denial]
    async with trading() as run:
        await run.ticks_until(lambda: run.trader.counters.errors == 1)
        assert len(peer.asked) == 1
    trade = run.named("trade")[0]
    assert dict(trade.attributes or {})["derivfleet.error_code"] == denial.reason


async def test_after_a_cut_the_streams_come_back_and_open_orders_are_looked_up(peer: Peer, trading: Start) -> None:
    peer.buys = [orders_pb2.ORDER_STATE_UNKNOWN]
    with structlog.testing.capture_logs() as logs:
        async with trading() as run:
            await run.ticks_until(lambda: bool(run.trader.followed_orders))
            (order_id,) = peer.asked
            order = peer.orders[order_id]
            order.state, order.profit = orders_pb2.ORDER_STATE_SETTLED, "-0.35"  # while nobody listens
            peer.cut()
            await run.eventually(lambda: run.trader.counters.settled == 1)
            assert peer.checked == [order_id]
            await run.ticks_until(lambda: len(peer.asked) == 2)
            assert peer.open_streams == 2
            assert peer.histories == 2, "the ticks that were missed are filled in"
    assert {line["stream"] for line in logs if line["event"] == "stream cut, retrying"} == {"orders", "ticks"}


async def test_an_order_that_the_gateway_has_forgotten_ends_the_trade(peer: Peer, trading: Start) -> None:
    async with trading() as run:
        await run.ticks_until(lambda: bool(run.trader.followed_orders))
        peer.orders.clear()
        peer.cut()
        await run.eventually(lambda: run.trader.counters.errors == 1)


async def test_a_bot_told_to_stop_waits_for_its_open_order(peer: Peer, trading: Start) -> None:
    async with trading() as run:
        await run.ticks_until(lambda: bool(run.trader.followed_orders))
        run.stop.set()
        await run.eventually(lambda: peer.left == ["replica-1"])
        assert not run.task.done()
        peer.settle(peer.asked[0], "0.22")
        await run.eventually(run.task.done)
    assert run.trader.counters.settled == 1


async def test_a_bot_told_to_stop_leaves_an_order_that_does_not_end(
    trading: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("derivfleet.bot.runner.DRAIN_WALL_S", 0.2)
    async with trading() as run:
        await run.ticks_until(lambda: bool(run.trader.followed_orders))
        run.stop.set()
        await run.eventually(run.task.done)
    assert [dict(span.attributes or {})["derivfleet.state"] for span in run.named("trade")] == ["confirmed"]


async def test_purchases_name_the_lease_and_a_bot_that_ends_gives_it_back(peer: Peer, trading: Start) -> None:
    async with trading() as run:
        await run.ticks_until(lambda: bool(run.trader.followed_orders))
        peer.settle(peer.asked[0], "0.22")
        await run.eventually(lambda: run.trader.counters.settled == 1)
        run.stop.set()
        await run.eventually(run.task.done)
    assert peer.epochs[0] == 7
    assert peer.left == ["replica-1"]


async def test_a_replica_without_symbols_waits_until_it_is_given_some(peer: Peer, trading: Start) -> None:
    peer.grants = False
    async with trading() as run:
        await run.eventually(lambda: peer.histories == 1)
        peer.tick()
        await asyncio.sleep(0.1)
        assert peer.asked == []
        peer.grants = True
        await run.ticks_until(lambda: len(peer.asked) == 1)


@pytest.mark.parametrize(
    ("refuse", "refuse_history", "words"),
    [
        (Problem(grpc.StatusCode.UNAUTHENTICATED, "TOKEN_UNKNOWN", "no"), None, "TOKEN_UNKNOWN"),
        (Problem(grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_ALLOWED", "no"), None, "ROLE_NOT_ALLOWED"),
        (None, Problem(grpc.StatusCode.INVALID_ARGUMENT, "SYMBOL", "unknown symbol", field="symbol"), "unknown symbol"),
    ],
)
async def test_what_only_a_person_can_mend_is_a_configuration_error(
    peer: Peer, trading: Start, refuse: Problem | None, refuse_history: Problem | None, words: str
) -> None:
    peer.refuse, peer.refuse_history = refuse, refuse_history
    with pytest.raises(ConfigurationError, match=words) as raised:
        async with trading() as run:
            await run.task
    assert raised.value.key.startswith("over-4: ")


async def test_history_over_the_limit_is_asked_for_again(peer: Peer, trading: Start) -> None:
    peer.refuse_history = Problem(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUOTA", "wait", retry_after_s=0.05)
    async with trading() as run:
        await run.eventually(lambda: peer.histories_refused >= 2)
        peer.refuse_history = None
        await run.ticks_until(lambda: len(peer.asked) == 1)

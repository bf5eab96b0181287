"""Bots of the run's own, over gRPC as any other.

Each of their orders has a stake that no other order has, so the ledger alone tells how often it was bought; and they
write down what they were told, so that nobody can change his mind.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

import grpc

from derivfleet.common.rpc.own_token import bearer
from derivfleet.common.rpc.status import problem_of
from derivfleet.v1 import orders_pb2, trading_pb2, trading_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from derivfleet.common.clock import Clock

__all__ = ["CONFIRMED", "FINAL", "Caller", "CallerOrder", "open_quick_channel", "stakes"]

CONFIRMED, SETTLED = orders_pb2.ORDER_STATE_CONFIRMED, orders_pb2.ORDER_STATE_SETTLED
UNKNOWN, DENIED = orders_pb2.ORDER_STATE_UNKNOWN, orders_pb2.ORDER_STATE_DENIED
FINAL = frozenset({SETTLED, DENIED, orders_pb2.ORDER_STATE_REJECTED, orders_pb2.ORDER_STATE_NOT_FOUND})
SYMBOLS = ("1HZ100V", "1HZ10V", "R_100")
FIRST_STAKE = Decimal("1.00")
"""Bots with a process of their own stake less."""
BUY_WALL_S = 1.0
RENEW_EVERY_WALL_S = 0.7
AGAIN_WALL_S = 0.1
_HURRY = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.use_local_subchannel_pool", 1),
)
"""A gateway that is back should be found at once: how soon it is back is what is measured."""


def open_quick_channel(address: str) -> grpc.aio.Channel:
    """A channel that comes back quickly."""
    return grpc.aio.insecure_channel(address, options=list(_HURRY))


def stakes() -> Iterator[Decimal]:
    """Each once."""
    stake = FIRST_STAKE
    while True:
        yield stake
        stake += Decimal("0.01")


@dataclass(slots=True)
class CallerOrder:
    """One order, as its bot heard of it."""

    order_id: str
    bot: str
    stake: Decimal
    states: list[int] = field(default_factory=list[int])
    contract_id: int = 0
    asked: int = 0
    """How often."""
    answered_ns: int = 0
    """When it was first heard that it is confirmed, fleet time."""
    free: str = ""
    """Why the gateway did not take it, if that was its last word."""

    def hear(self, order: orders_pb2.Order, now_ns: int) -> None:
        """Take an order as it was told."""
        if not self.states or self.states[-1] != order.state:
            self.states.append(order.state)
        self.free = ""
        if order.contract_id and not self.contract_id:
            self.contract_id = order.contract_id
            self.answered_ns = now_ns


class Caller:
    """One bot that asks until it is told. The same id is asked for again after every silence."""

    def __init__(
        self,
        bot: str,
        token: str,
        channel: grpc.aio.Channel,
        clock: Clock,
        its_stakes: Iterator[Decimal],
        pause_s: float,
    ) -> None:
        self.told: dict[str, CallerOrder] = {}
        self.calls = 0
        self._bot = bot
        self._token = bearer(token)
        self._stub = trading_pb2_grpc.TradingServiceStub(channel)
        self._clock = clock
        self._stakes = its_stakes
        self._pause_s = pause_s
        self._epochs: dict[str, int] = {}
        self._following: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Buy, one order after the other, until told to stop; those under way are seen to an answer."""
        holding = asyncio.create_task(self._hold())
        try:
            number = 0
            while not stop.is_set():
                number += 1
                told = CallerOrder(f"{self._bot}-{number}", self._bot, next(self._stakes))
                self.told[told.order_id] = told
                symbol = SYMBOLS[number % len(SYMBOLS)]
                await self._buy(told, symbol, stop)
                await asyncio.sleep(self._pause_s)
        finally:
            holding.cancel()
            await asyncio.gather(holding, return_exceptions=True)

    async def _hold(self) -> None:
        request = trading_pb2.RenewLeasesRequest(account="demo", replica="chaos")
        while True:
            try:
                answer = await self._stub.RenewLeases(request, metadata=self._token, timeout=1.0)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(AGAIN_WALL_S)
            else:
                self._epochs = {lease.symbol: lease.epoch for lease in answer.leases}
                await asyncio.sleep(RENEW_EVERY_WALL_S)

    async def _buy(self, told: CallerOrder, symbol: str, stop: asyncio.Event) -> None:
        terms = orders_pb2.ContractTerms(
            contract_type="DIGITOVER",
            symbol=symbol,
            stake=f"{told.stake:.2f}",
            duration=1,
            duration_unit="t",
            barrier="4",
        )
        while True:
            told.asked += 1
            self.calls += 1
            request = trading_pb2.BuyRequest(
                account="demo",
                order_id=told.order_id,
                terms=terms,
                replica="chaos",
                lease_epoch=self._epochs.get(symbol, 0),
            )
            try:
                answer = await self._stub.Buy(request, metadata=self._token, timeout=BUY_WALL_S)
            except grpc.aio.AioRpcError as error:
                problem = problem_of(error)
                told.free = problem.reason
                if problem.metadata.get("final") == "true" or problem.reason == "ORDER_DIFFERS":
                    told.states.append(DENIED)
                    return
                # Silence, or not taken: in both cases the same id may be asked for again.
                if stop.is_set() and told.asked > 1:
                    return
                await asyncio.sleep(AGAIN_WALL_S)
            else:
                told.hear(answer.order, self._clock.now_ns())
                return

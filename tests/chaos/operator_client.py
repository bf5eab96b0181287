"""An operator's client of the gateway: the order feed, followed wherever it was cut; orders, status, and who serves."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import grpc

from derivfleet.common.rpc.own_token import bearer
from derivfleet.v1 import control_pb2, control_pb2_grpc, orders_pb2

__all__ = ["OperatorClient", "Transition"]

AGAIN_WALL_S = 0.1


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of one order, as the feed tells it."""

    position: int
    time_ns: int
    order_id: str
    bot: str
    state: int
    contract_id: int
    intended_ns: int
    sent_ns: int


class OperatorClient:
    """The order feed from its beginning, taken up again wherever it was cut; and a look at whether calls are served."""

    def __init__(self, token: str, channel: grpc.aio.Channel) -> None:
        self.transitions: list[Transition] = []
        self.twice = 0
        """Positions that came again though they had been kept."""
        self._token = bearer(token)
        self._stub = control_pb2_grpc.ControlServiceStub(channel)

    async def follow(self) -> None:
        """Follow for ever."""
        last = 0
        while True:
            try:
                request = control_pb2.StreamOrderFeedRequest(after_position=last)
                async for message in self._stub.StreamOrderFeed(request, metadata=self._token):
                    if not message.HasField("event"):
                        continue
                    event = message.event
                    if event.position <= last:
                        self.twice += 1
                        continue
                    last = event.position
                    order = event.order
                    self.transitions.append(
                        Transition(
                            position=event.position,
                            time_ns=event.time_ns,
                            order_id=order.order_id,
                            bot=order.bot,
                            state=order.state,
                            contract_id=order.contract_id,
                            intended_ns=order.intended_time_ns,
                            sent_ns=order.sent_time_ns,
                        )
                    )
            except grpc.aio.AioRpcError:
                await asyncio.sleep(AGAIN_WALL_S)

    async def served_after(self, since_s: float, patience_s: float = 60.0) -> float | None:
        """Milliseconds of the wall from an instant of the monotonic clock to the first call that is served out of the
        journal; None if none was in time.
        """
        request = control_pb2.ListOrdersRequest(limit=1)
        while time.monotonic() < since_s + patience_s:
            try:
                await self._stub.ListOrders(request, metadata=self._token, timeout=2.0)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.02)
            else:
                return (time.monotonic() - since_s) * 1e3
        return None

    async def orders(self) -> list[orders_pb2.Order]:
        """Every order that the journal knows."""
        found: list[orders_pb2.Order] = []
        page = ""
        while True:
            request = control_pb2.ListOrdersRequest(limit=1000, page_token=page)
            answer = await self._stub.ListOrders(request, metadata=self._token, timeout=30.0)
            found += answer.orders
            page = answer.next_page_token
            if not page:
                return found

    async def status(self) -> control_pb2.AccountStatus:
        """The account."""
        answer = await self._stub.GetStatus(control_pb2.GetStatusRequest(), metadata=self._token, timeout=5.0)
        return answer.accounts[0]

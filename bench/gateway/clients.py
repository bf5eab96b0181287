"""One bot's calls through the gateway, or to the bare echo, as a bot makes them: with grpc.aio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import grpc

from bench.gateway.fleet_setup import ACCOUNT, SYMBOL, bot_name, order_name, terms_message
from derivfleet.common.rpc.own_token import bearer, read_token
from derivfleet.v1 import trading_pb2, trading_pb2_grpc

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Client", "Echoed", "OfBot"]

ANSWERED, REFUSED = "answered", "refused"
HISTORY_COUNT = 10
CONNECT_PATIENCE_S = 20.0


class Client(Protocol):
    """Makes one call after another; each tells how it ended: ``answered``, ``refused`` (for a limit), or a code."""

    async def open(self) -> None:
        """Connect."""
        ...

    async def call(self, kind: str) -> str:
        """Make a call of one kind."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...


def _own_channel(port: int) -> grpc.aio.Channel:
    """A channel that shares its connection with no other of this process, as those of two bots never do."""
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])


async def _outcome(call: Any) -> str:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return REFUSED if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED else error.code().name
    return ANSWERED


class Echoed:
    """Calls the bare server, over a connection of its own."""

    def __init__(self, port: int) -> None:
        self._channel = _own_channel(port)
        self._stub = trading_pb2_grpc.TradingServiceStub(self._channel)
        self._request = trading_pb2.CheckRequest(account=ACCOUNT, order_id=order_name(0))

    async def open(self) -> None:
        await asyncio.wait_for(self._channel.channel_ready(), CONNECT_PATIENCE_S)

    async def call(self, kind: str) -> str:
        del kind
        return await _outcome(self._stub.Check(self._request))

    async def close(self) -> None:
        await self._channel.close()


class OfBot:
    """A bot's calls, over a connection of its own. ``run`` makes its order ids unlike those of any other run."""

    def __init__(self, port: int, tokens: Path, index: int, run: str, patience_s: float) -> None:
        self._channel = _own_channel(port)
        self._stub = trading_pb2_grpc.TradingServiceStub(self._channel)
        self._aside = _own_channel(port)
        """For the lease, which must not wait behind ten thousand calls."""
        self._metadata = bearer(read_token(tokens / f"{bot_name(index)}.token", "token"))
        self._order = order_name(index)
        self._prefix = f"{run}-{index}"
        self._patience_s = patience_s
        self._ordinal = 0
        self._epoch = 0
        self._renewing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await asyncio.wait_for(self._channel.channel_ready(), CONNECT_PATIENCE_S)

    async def hold(self) -> None:
        """Hold the bot's symbol until it is let go."""
        await self._renew()
        self._renewing = asyncio.create_task(self._keep())

    async def let_go(self) -> None:
        """Renew no more."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
            self._renewing = None

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(1)
            await self._renew()

    async def _renew(self) -> None:
        request = trading_pb2.RenewLeasesRequest(account=ACCOUNT, replica="bench")
        stub = trading_pb2_grpc.TradingServiceStub(self._aside)
        answer = await stub.RenewLeases(request, metadata=self._metadata)
        self._epoch = next((lease.epoch for lease in answer.leases), 0)

    async def call(self, kind: str) -> str:
        stub, metadata, patience_s = self._stub, self._metadata, self._patience_s
        match kind:
            case "check":
                request = trading_pb2.CheckRequest(account=ACCOUNT, order_id=self._order)
                return await _outcome(stub.Check(request, metadata=metadata, timeout=patience_s))
            case "live":
                request = trading_pb2.CheckRequest(account=ACCOUNT, order_id=self._order, live=True)
                return await _outcome(stub.Check(request, metadata=metadata, timeout=patience_s))
            case "history":
                past = trading_pb2.HistoryRequest(account=ACCOUNT, symbol=SYMBOL, count=HISTORY_COUNT)
                return await _outcome(stub.History(past, metadata=metadata, timeout=patience_s))
            case "buy":
                return await _outcome(self._buy())
            case _:
                raise ValueError(kind)

    async def _buy(self) -> None:
        self._ordinal += 1
        request = trading_pb2.BuyRequest(
            account=ACCOUNT,
            order_id=f"{self._prefix}-{self._ordinal}",
            terms=terms_message(),
            replica="bench",
            lease_epoch=self._epoch,
        )
        answer = await self._stub.Buy(request, metadata=self._metadata, timeout=self._patience_s)
        self._order = answer.order.order_id

    async def close(self) -> None:
        await self.let_go()
        await self._aside.close()
        await self._channel.close()

"""``python -m bench.gateway.echo PORT``: a bare grpc.aio server whose ``Check`` gives a ready answer."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc

from bench.gateway.fleet_setup import old_order
from derivfleet.gateway.rpc import messages
from derivfleet.v1 import trading_pb2, trading_pb2_grpc

ANSWER = trading_pb2.CheckResponse(order=messages.order_message(old_order(0)))
"""As long as the gateway's."""


class Echo(trading_pb2_grpc.TradingServiceServicer):
    """Messages of the same kind and size as the gateway's, and nothing behind them."""

    async def Check(self, request: trading_pb2.CheckRequest, context: Any) -> trading_pb2.CheckResponse:  # noqa: N802
        del request, context
        return ANSWER


async def serve(port: int) -> None:
    server = grpc.aio.server()
    servicer: Any = Echo
    trading_pb2_grpc.add_TradingServiceServicer_to_server(servicer(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))

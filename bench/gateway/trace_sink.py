"""``python -m bench.gateway.trace_sink PORT``: takes traces from the gateway and throws them away."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


async def export(request: bytes, context: Any) -> bytes:
    """An empty message is the whole answer."""
    del request, context
    return b""


async def serve(port: int) -> None:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 * 2**20)])
    behaviour: Any = export  # the typed stubs know synchronous behaviours only
    make: Any = grpc.unary_unary_rpc_method_handler  # without types for a handler of plain bytes
    handler = make(behaviour)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Export": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))

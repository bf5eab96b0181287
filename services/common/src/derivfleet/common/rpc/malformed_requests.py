"""Requests that are no messages: refused in one line; gRPC alone logs a traceback each, and takes the blame."""

from __future__ import annotations

import inspect
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError

from derivfleet.common.logs import get_logger
from derivfleet.common.rpc.identity import known_caller
from derivfleet.common.rpc.status import Problem, abort

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["Readable"]

_log = get_logger()
UNREADABLE = Problem(
    grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_UNREADABLE", "the request is not the message that the method takes"
)


class Readable(grpc.GenericRpcHandler):
    """Methods whose handlers see messages only. One that takes bytes, or a stream of requests, is left as it is."""

    def __init__(self, methods: grpc.GenericRpcHandler) -> None:
        self._methods = methods
        self._found: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The method of this name; None if there is none."""
        method = handler_call_details.method
        found = self._found.get(method)
        if found is None:
            handler = self._methods.service(handler_call_details)
            if handler is None:
                return None
            found = self._found[method] = _checked(method, handler)
        return found


def _checked(method: str, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
    read: Any = handler.request_deserializer
    if handler.request_streaming or read is None:
        return handler
    make: Callable[..., grpc.RpcMethodHandler[Any, Any]] = grpc.unary_unary_rpc_method_handler
    behaviour: Any = _answering(method, handler.unary_unary)
    if handler.response_streaming:
        make, behaviour = grpc.unary_stream_rpc_method_handler, _streaming(method, handler.unary_stream)

    def read_or_none(body: bytes) -> object:
        try:
            return read(body)
        except DecodeError:
            return None

    return make(behaviour, request_deserializer=read_or_none, response_serializer=handler.response_serializer)


def _answering(method: str, behaviour: Any) -> object:
    async def answer(request: object, context: grpc.aio.ServicerContext[Any, Any]) -> object:
        if request is None:
            await _refuse(method, context)
        return await behaviour(request, context)

    return answer


def _streaming(method: str, behaviour: Any) -> object:
    if not inspect.isasyncgenfunction(behaviour):
        return _answering(method, behaviour)

    async def stream(request: object, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[object]:
        if request is None:
            await _refuse(method, context)
        async with aclosing(behaviour(request, context)) as answers:
            async for answer in answers:
                yield answer

    return stream


async def _refuse(method: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    bearer = known_caller()
    _log.warning("call refused", method=method, reason=UNREADABLE.reason, bearer=bearer and bearer.name)
    await abort(context, UNREADABLE)

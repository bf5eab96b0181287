"""gRPC without a network: a channel that carries calls to servicers in the same process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from derivfleet.common.rpc.identity import Identity, Role, set_caller

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

__all__ = ["Channel"]


class _Context:
    """What gRPC gives a method beside its request."""

    def __init__(self, deadline_s: float | None, metadata: Iterable[tuple[str, str]]) -> None:
        self.sent: asyncio.Queue[Any] = asyncio.Queue()
        """The messages of a stream."""
        self._deadline_s = deadline_s
        self._metadata = tuple(metadata)

    def time_remaining(self) -> float | None:
        return self._deadline_s

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    async def send_initial_metadata(self, _metadata: object) -> None:
        """There is nobody to hear of it."""

    async def write(self, message: object) -> None:
        self.sent.put_nowait(message)

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: Any = ()) -> NoReturn:
        raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailing_metadata), details)


class _Stream:
    """A call that is answered with many messages."""

    def __init__(self, method: Callable[..., Any], request: object, context: _Context, caller: Identity) -> None:
        self._context = context
        self._task = asyncio.create_task(_as_caller(caller, self._run(method, request)))
        self._task.add_done_callback(lambda _: context.sent.put_nowait(self))

    async def _run(self, method: Callable[..., Any], request: object) -> None:
        answer = method(request, self._context)
        if hasattr(answer, "__aiter__"):
            async for message in answer:
                await self._context.write(message)
        else:
            await answer

    def __aiter__(self) -> _Stream:
        return self

    async def __anext__(self) -> Any:
        message = await self._context.sent.get()
        if message is not self:
            return message
        if not self._task.cancelled():
            self._task.result()
        raise StopAsyncIteration

    def cancel(self) -> None:
        self._task.cancel()


class Channel:
    """Carries calls to servicers in the same process. The bearer of a token is the name before its first dot."""

    def __init__(self, method_of: Callable[[str], Callable[..., Any]]) -> None:
        """``method_of`` finds the method that a path names."""
        self._method_of = method_of

    def unary_unary(self, path: str, *_: object, **__: object) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def call(request: object, timeout: float | None = None, metadata: Any = (), **_: object) -> Any:  # noqa: ASYNC109 - as gRPC has it
            context = _Context(timeout, metadata)
            work = asyncio.ensure_future(_as_caller(_bearer(metadata), self._method_of(path)(request, context)))
            try:
                async with asyncio.timeout(timeout):
                    return await asyncio.shield(work)
            except TimeoutError:
                work.cancel()
                code = grpc.StatusCode.DEADLINE_EXCEEDED
                raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "deadline") from None
            except asyncio.CancelledError:
                work.cancel()
                raise

        return call

    def unary_stream(self, path: str, *_: object, **__: object) -> Callable[..., _Stream]:
        def call(request: object, metadata: Any = (), **_: object) -> _Stream:
            return _Stream(self._method_of(path), request, _Context(None, metadata), _bearer(metadata))

        return call

    async def close(self) -> None:
        """Holds nothing."""


def _bearer(metadata: Iterable[tuple[str, str]]) -> Identity:
    name = dict(metadata)["authorization"].removeprefix("Bearer ").partition(".")[0]
    return Identity(name=name, role=Role.OPERATOR if name == "operator" else Role.BOT)


async def _as_caller(caller: Identity, call: Awaitable[Any]) -> Any:
    set_caller(caller)
    return await call

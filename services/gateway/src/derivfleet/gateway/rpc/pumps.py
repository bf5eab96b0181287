"""From a watch to the stream of who watches: message by message, at the reader's pace."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from derivfleet.common.rpc.status import ProblemError
from derivfleet.connection.connection import CallRefusedError
from derivfleet.gateway.rpc import errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from google.protobuf.message import Message

    from derivfleet.deriv.vocabulary import Call
    from derivfleet.gateway.market.feeds import Watch
    from derivfleet.gateway.rpc.visits import Context

__all__ = ["Pump", "sent_away"]

T = TypeVar("T")


@asynccontextmanager
async def sent_away(watch: Watch[Any], context: Context) -> AsyncGenerator[None, None]:
    """Ends a stream's handler when its watcher falls behind, wherever the handler is. Raises ProblemError then.

    It hangs in a write then, and gRPC lets a status follow that only if the headers have gone before. The reader finds
    the status behind what it did not read.
    """
    await context.send_initial_metadata(())
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a handler runs in a task")
    watch.evict = task.cancel
    try:
        yield
    except asyncio.CancelledError:
        if not watch.fell_behind:
            raise
        task.uncancel()
        raise ProblemError(errors.fell_behind()) from None
    finally:
        watch.evict = None


class Pump(Generic[T]):
    """Writes what comes to a watch into a call's stream.

    A task that waits for the next message and then for its writing is woken twice a message, through all the layers of
    gRPC's handler above it: with a thousand streams that is a third of the whole work. So each write is driven here, by
    hand, while the handler sleeps to the end.
    """

    def __init__(self, watch: Watch[T], context: Context, call: Call, message_of: Callable[[T], Message]) -> None:
        """``call`` is what Deriv may refuse."""
        self._watch = watch
        self._context = context
        self._call = call
        self._message_of = message_of
        self._writing: Any = None
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Write until the stream ends. Raises ProblemError if Deriv refuses it."""
        self._watch.wait(self._next)
        await self._end

    def _next(self) -> None:
        if self._end.done():
            return
        item = self._watch.take()
        if item is None:
            self._end.set_result(None)
        elif isinstance(item, CallRefusedError):
            self._end.set_exception(ProblemError(errors.refused(self._call, item)))
        else:
            self._writing = self._write(item)
            self._go_on()

    async def _write(self, item: T) -> None:
        await self._context.write(self._message_of(item))

    def _go_on(self, _: object = None) -> None:
        """Take the write one step further, as a task would."""
        try:
            future = self._writing.send(None)
        except StopIteration:
            self._watch.wait(self._next)
        except Exception as error:  # noqa: BLE001 - as above
            if not self._end.done():
                self._end.set_exception(error)
        else:
            future._asyncio_future_blocking = False  # noqa: SLF001 - how asyncio's tasks take a future over
            future.add_done_callback(self._go_on)

"""What many may watch at once: ticks of a symbol, the state of a contract. One stream at Deriv serves all watchers."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog

from derivfleet.deriv import requests
from derivfleet.deriv.errors import MalformedAnswer
from derivfleet.gateway.upstream.line import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from derivfleet.deriv.answers import ContractState
    from derivfleet.deriv.requests import Request
    from derivfleet.deriv.ticks import Tick
    from derivfleet.gateway.upstream.connection import CallRefusedError, Frame
    from derivfleet.gateway.upstream.line import Line

__all__ = ["Feeds", "Watch"]

_log = structlog.get_logger()
T = TypeVar("T")

WATCHER_BACKLOG = 1000
"""Messages kept for a watcher who does not read; then it has fallen behind and is sent away. The messages are shared by
all who wait for them."""
WOKEN_AT_ONCE = 100
"""Watchers that are sent a message before others' calls get their turn: about four milliseconds."""


class Bell:
    """Wakes watchers a few at a time, so that a tick that a thousand wait for does not keep others' calls waiting."""

    def __init__(self) -> None:
        self._sleepers: deque[Callable[[], None]] = deque()

    def ring(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` soon, in its turn."""
        if not self._sleepers:
            asyncio.get_running_loop().call_soon(self._ring)
        self._sleepers.append(wake)

    def _ring(self) -> None:
        try:
            for _ in range(min(WOKEN_AT_ONCE, len(self._sleepers))):
                self._sleepers.popleft()()
        finally:
            if self._sleepers:
                asyncio.get_running_loop().call_soon(self._ring)


class Watch(Generic[T]):
    """One watcher's view of one or more streams: what has come and was not taken yet."""

    __slots__ = ("_backlog", "_bell", "_wake", "evict", "fell_behind")

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._backlog: deque[T | CallRefusedError | None] = deque()
        self._wake: Callable[[], None] | None = None
        self.fell_behind = False
        self.evict: Callable[[], object] | None = None
        """Called once if the watcher does not take what comes: it may be stuck in handing on what it took last."""

    def put(self, item: T | CallRefusedError | None) -> None:
        if self.fell_behind:
            return
        self._backlog.append(item)
        if self._wake is not None:
            self._bell.ring(self._wake)
            self._wake = None
        elif len(self._backlog) > WATCHER_BACKLOG:
            self.fell_behind = True
            self._backlog.clear()
            if self.evict is not None:
                self.evict()

    def wait(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` when there is something to take: now, or once it has come."""
        if self._backlog or self.fell_behind:
            wake()
        else:
            self._wake = wake

    def take(self) -> T | CallRefusedError | None:
        """The oldest message that was not taken, the refusal that ended the stream, or None: the gateway stops, or the
        watcher fell behind. To be called when there is something.
        """
        return self._backlog.popleft() if self._backlog else None

    async def next(self) -> T | CallRefusedError | None:
        """Wait for something to take, and take it."""
        there: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.wait(lambda: None if there.done() else there.set_result(None))
        await there
        return self.take()


class _Source(Generic[T]):
    """One stream at Deriv and its watchers."""

    def __init__(
        self,
        line: Line,
        request: Request,
        decode: Callable[[Frame], T | None],
        is_news: Callable[[T, T], bool],
        after: asyncio.Task[None] | None,
    ) -> None:
        """``is_news`` compares the latest item with the next; ``after`` is the end of an earlier stream of the same."""
        self._decode = decode
        self._is_news = is_news
        self._latest: T | None = None
        self._refusal: CallRefusedError | None = None
        self.watchers: set[Watch[T]] = set()
        self.standing = Standing(line, request, self._take, self._refused, after)

    def join(self, watch: Watch[T]) -> None:
        self.watchers.add(watch)
        if self._refusal is not None:
            watch.put(self._refusal)
        elif self._latest is not None:
            watch.put(self._latest)

    def _take(self, frame: Frame) -> None:
        try:
            item = self._decode(frame)
        except MalformedAnswer as error:
            _log.warning("stream message without use", problem=str(error))
            return
        if item is None or (self._latest is not None and not self._is_news(self._latest, item)):
            return  # a stream that is opened again begins with what it ended with
        self._latest = item
        for watch in self.watchers:
            watch.put(item)

    def end(self) -> None:
        """Tell the watchers that nothing more will come."""
        for watch in self.watchers:
            watch.put(None)

    def _refused(self, error: CallRefusedError) -> None:
        self._refusal = error
        for watch in self.watchers:
            watch.put(error)


class Feeds:
    """The streams of one account that somebody watches."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._codec = line.pool.entrance.codec
        self._ticks: dict[str, _Source[Tick]] = {}
        self._contracts: dict[int, _Source[ContractState]] = {}
        self._ending: dict[str | int, asyncio.Task[None]] = {}
        self._bell = Bell()

    @contextmanager
    def ticks(self, symbols: list[str]) -> Generator[Watch[Tick], None, None]:
        """Watch symbols; each begins with its latest tick if one is known."""
        watch: Watch[Tick] = Watch(self._bell)
        wanted = {symbol: requests.Ticks(ticks=symbol, subscribe=1) for symbol in symbols}
        for symbol, request in wanted.items():
            if symbol not in self._ticks:
                self._ticks[symbol] = _Source(
                    self._line,
                    request,
                    self._tick_of,
                    lambda last, tick: tick.epoch_s > last.epoch_s,
                    self._end_of(symbol),
                )
            self._ticks[symbol].join(watch)
        try:
            yield watch
        finally:
            for symbol in wanted:
                self._leave(self._ticks, symbol, watch)

    @contextmanager
    def contract(self, contract_id: int) -> Generator[Watch[ContractState], None, None]:
        """Watch one contract until it is sold."""
        watch: Watch[ContractState] = Watch(self._bell)
        if contract_id not in self._contracts:
            request = requests.ProposalOpenContract(proposal_open_contract=1, contract_id=contract_id, subscribe=1)
            self._contracts[contract_id] = _Source(
                self._line,
                request,
                self._codec.decode_contract,
                lambda last, state: not last.is_sold and state != last,
                self._end_of(contract_id),
            )
        self._contracts[contract_id].join(watch)
        try:
            yield watch
        finally:
            self._leave(self._contracts, contract_id, watch)

    def _leave(self, sources: dict[str, _Source[T]] | dict[int, _Source[T]], key: str | int, watch: Watch[T]) -> None:
        table: dict[str | int, _Source[T]] = sources  # pyright: ignore[reportAssignmentType] - keys are of one kind in each
        source = table[key]
        source.watchers.discard(watch)
        if not source.watchers:
            del table[key]
            task = self._ending[key] = asyncio.create_task(source.standing.stop(), name=f"end the stream of {key}")
            task.add_done_callback(lambda _: self._ended(key, task))

    def _ended(self, key: str | int, task: asyncio.Task[None]) -> None:
        if self._ending.get(key) is task:
            del self._ending[key]

    def _end_of(self, key: str | int) -> asyncio.Task[None] | None:
        return self._ending.get(key)

    def _tick_of(self, frame: Frame) -> Tick:
        return self._codec.decode_tick(frame).tick

    async def stop(self) -> None:
        """Stop listening to all streams, when the sockets are about to close."""
        for source in [*self._ticks.values(), *self._contracts.values()]:
            source.standing.cancel()
            source.end()
        for task in self._ending.values():
            task.cancel()
        await asyncio.gather(*self._ending.values(), return_exceptions=True)

"""What many may watch at once: ticks of a symbol, the state of a contract. One stream at Deriv serves all watchers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Generic, TypeVar

import structlog

from derivfleet.connection.connection import CallRefusedError
from derivfleet.deriv import requests
from derivfleet.deriv.errors import MalformedAnswer
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.gateway.core.market.coalescing import Saving, Savings
from derivfleet.gateway.core.market.history import RecentTicks
from derivfleet.gateway.upstream.streams import StandingStream

if TYPE_CHECKING:
    from collections.abc import Generator

    from derivfleet.connection.connection import Frame
    from derivfleet.deriv.answers import ContractState
    from derivfleet.deriv.requests import Request
    from derivfleet.deriv.ticks import Tick
    from derivfleet.gateway.upstream.client import AccountClient

__all__ = ["Feeds", "Watch"]

_log = structlog.get_logger()
T = TypeVar("T")

WATCHER_BACKLOG = 1000
"""Messages kept for a watcher who does not read; then it has fallen behind and is sent away. The messages are shared by
all who wait for them."""
WOKEN_AT_ONCE = 100
"""Watchers that are sent a message before others' calls get their turn: about four milliseconds."""
FRESH_S = 5.0
"""What a stream told is good for so long after its latest message: a socket can be dead before anybody notices. The
slowest market that never sleeps ticks every 2 s."""
FRESH_WALL_S = 0.5
"""But at least for so long: networks and processors do not run faster when the clock does."""
Watcher = Callable[[T | CallRefusedError | None], None]
"""It is told each message of a stream, the refusal that ended the stream, or None when the gateway stops."""


class Waker:
    """Wakes watchers a few at a time, so that a tick that a thousand wait for does not keep others' calls waiting."""

    def __init__(self) -> None:
        self._sleepers: deque[Callable[[], None]] = deque()

    def wake_soon(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` soon, in its turn."""
        if not self._sleepers:
            asyncio.get_running_loop().call_soon(self._wake_some)
        self._sleepers.append(wake)

    def _wake_some(self) -> None:
        try:
            for _ in range(min(WOKEN_AT_ONCE, len(self._sleepers))):
                self._sleepers.popleft()()
        finally:
            if self._sleepers:
                asyncio.get_running_loop().call_soon(self._wake_some)


class Watch(Generic[T]):
    """One watcher's view of one or more streams: what has come and was not taken yet."""

    __slots__ = ("_backlog", "_wake", "_waker", "evict", "fell_behind")

    def __init__(self, waker: Waker) -> None:
        self._waker = waker
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
            self._waker.wake_soon(self._wake)
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


class _SharedStream(Generic[T]):
    """One stream at Deriv and its watchers."""

    def __init__(
        self,
        client: AccountClient,
        request: Request,
        decode: Callable[[Frame], T | None],
        is_news: Callable[[T, T], bool],
        after: asyncio.Task[None] | None,
    ) -> None:
        """``is_news`` compares the latest item with the next; ``after`` is the end of an earlier stream of the same."""
        self._decode = decode
        self._is_news = is_news
        self._now_ns = client.clock.now_ns
        self._refusal: CallRefusedError | None = None
        self.latest: T | None = None
        self.heard_ns = 0
        """When the latest message came, whether it was news or not."""
        self.begun = asyncio.Event()
        self.watchers: set[Watcher[T]] = set()
        self.stream = StandingStream(client, request, self._take, self._refused, after)

    def join(self, watcher: Watcher[T]) -> None:
        self.watchers.add(watcher)
        told = self._refusal or self.latest
        if told is not None:
            watcher(told)

    def tell(self, item: T | CallRefusedError | None) -> None:
        for watcher in self.watchers:
            watcher(item)

    def _take(self, frame: Frame) -> None:
        try:
            item = self._decode(frame)
        except MalformedAnswer as error:
            _log.warning("stream message without use", problem=str(error))
            return
        if item is None:
            return
        self.heard_ns = self._now_ns()
        self.begun.set()
        if self.latest is not None and not self._is_news(self.latest, item):
            return  # a stream that is opened again begins with what it ended with
        self.latest = item
        self.tell(item)

    def _refused(self, error: CallRefusedError) -> None:
        self._refusal = error
        self.tell(error)


class Feeds:
    """The streams of one account that somebody watches."""

    def __init__(self, client: AccountClient, savings: Savings | None = None) -> None:
        self._client = client
        self._codec = client.pool.login.codec
        self._savings = Savings() if savings is None else savings
        self._fresh_ns = round(max(FRESH_S, client.clock.fleet_s(FRESH_WALL_S)) * 1e9)
        self._ticks: dict[str, _SharedStream[Tick]] = {}
        self._recent: dict[str, RecentTicks] = {}
        self._contracts: dict[int, _SharedStream[ContractState]] = {}
        self._ending: dict[str | int, asyncio.Task[None]] = {}
        self._waker = Waker()

    @contextmanager
    def ticks(self, symbols: list[str]) -> Generator[Watch[Tick], None, None]:
        """Watch symbols; each begins with its latest tick if one is known."""
        watch: Watch[Tick] = Watch(self._waker)
        symbols = list(dict.fromkeys(symbols))
        for symbol in symbols:
            if symbol in self._ticks:
                self._savings.count(Saving.TICKS)
            self._join_ticks(symbol, watch.put)
        try:
            yield watch
        finally:
            for symbol in symbols:
                self._leave_ticks(symbol, watch.put)

    def hold(self, symbol: str, on_refused: Callable[[], None]) -> Callable[[], None]:
        """Keep a symbol's ticks coming although nobody watches; returns what ends that, to be called once."""

        def hold(item: object) -> None:
            if isinstance(item, CallRefusedError):
                asyncio.get_running_loop().call_soon(on_refused)  # others are being told; nobody may leave now

        self._join_ticks(symbol, hold)
        return lambda: self._leave_ticks(symbol, hold)

    def recent(self, symbol: str) -> RecentTicks | None:
        """The latest prices of a symbol whose ticks somebody watches."""
        return self._recent.get(symbol)

    def is_open(self, symbol: str) -> bool:
        """Whether a symbol's ticks come over a socket that is open."""
        source = self._ticks.get(symbol)
        return source is not None and source.stream.is_open

    async def begun(self, symbol: str, timeout_s: float) -> None:
        """Wait for the first tick of a symbol that somebody watches, but not for long."""
        source = self._ticks.get(symbol)
        if source is not None:
            with suppress(TimeoutError):
                async with self._client.clock.timeout(timeout_s):
                    await source.begun.wait()

    @contextmanager
    def contract(self, contract_id: int) -> Generator[Watch[ContractState], None, None]:
        """Watch one contract until it is sold."""
        watch: Watch[ContractState] = Watch(self._waker)
        if contract_id in self._contracts:
            self._savings.count(Saving.CONTRACT)
        else:
            request = requests.ProposalOpenContract(proposal_open_contract=1, contract_id=contract_id, subscribe=1)
            self._contracts[contract_id] = _SharedStream(
                self._client,
                request,
                self._codec.decode_contract,
                lambda last, state: not last.is_sold and state != last,
                self._ending.get(contract_id),
            )
        self._contracts[contract_id].join(watch.put)
        try:
            yield watch
        finally:
            self._leave(self._contracts, contract_id, watch.put)

    def contract_now(self, contract_id: int, fresh_ns: int) -> ContractState | None:
        """The state of a contract that somebody watches, if it was told at most ``fresh_ns`` ago or is the last one."""
        source = self._contracts.get(contract_id)
        if source is None or source.latest is None:
            return None
        is_fresh = source.stream.is_open and self._client.clock.now_ns() - source.heard_ns <= fresh_ns
        return source.latest if is_fresh or source.latest.is_sold else None

    def _join_ticks(self, symbol: str, watcher: Watcher[Tick]) -> None:
        if symbol not in self._ticks:
            grid = SYMBOLS.get(symbol)
            recent = self._recent[symbol] = RecentTicks(None if grid is None else grid.tick_spacing_s, self._fresh_ns)
            self._ticks[symbol] = _SharedStream(
                self._client,
                requests.Ticks(ticks=symbol, subscribe=1),
                lambda frame: self._tick_of(frame, recent),
                lambda last, tick: tick.epoch_s > last.epoch_s,
                self._ending.get(symbol),
            )
        self._ticks[symbol].join(watcher)

    def _leave_ticks(self, symbol: str, watcher: Watcher[Tick]) -> None:
        self._leave(self._ticks, symbol, watcher)
        if symbol not in self._ticks:
            del self._recent[symbol]

    def _leave(
        self, sources: dict[str, _SharedStream[T]] | dict[int, _SharedStream[T]], key: str | int, watcher: Watcher[T]
    ) -> None:
        table: dict[str | int, _SharedStream[T]] = sources  # pyright: ignore[reportAssignmentType] - keys are of one kind in each
        source = table[key]
        source.watchers.discard(watcher)
        if not source.watchers:
            del table[key]
            task = self._ending[key] = asyncio.create_task(source.stream.stop(), name=f"end the stream of {key}")
            task.add_done_callback(lambda _: self._ended(key, task))

    def _ended(self, key: str | int, task: asyncio.Task[None]) -> None:
        if self._ending.get(key) is task:
            del self._ending[key]

    def _tick_of(self, frame: Frame, recent: RecentTicks) -> Tick:
        try:
            update = self._codec.decode_tick(frame)
        except MalformedAnswer:
            recent.lose()
            raise
        recent.take(update.tick, update.stream_id, self._client.clock.now_ns())
        return update.tick

    async def stop(self) -> None:
        """Stop listening to all streams, when the sockets are about to close."""
        for source in [*self._ticks.values(), *self._contracts.values()]:
            source.stream.cancel()
            source.tell(None)
        for task in self._ending.values():
            task.cancel()
        await asyncio.gather(*self._ending.values(), return_exceptions=True)

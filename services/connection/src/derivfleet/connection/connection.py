"""One socket to Deriv: calls, streams, late answers, and a clear end.

Our reader sees every frame first. A call ends in one of three ways: a result, Deriv's refusal, or a lost answer; and a
lost answer says whether its frame had been handed to the socket.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from websockets.exceptions import ConnectionClosed

from derivfleet.connection.adapter import LibraryAdapter
from derivfleet.connection.core.health import Health, Verdict
from derivfleet.connection.timeouts import health_timeouts
from derivfleet.deriv.dialects import Frame, from_json
from derivfleet.deriv.errors import MalformedAnswer, MalformedFrame
from derivfleet.deriv.vocabulary import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from websockets.asyncio.client import ClientConnection

    from derivfleet.common.clock import Clock
    from derivfleet.deriv.dialects import Codec
    from derivfleet.deriv.requests import Request

__all__ = ["AnswerLostError", "CallRefusedError", "Connection", "Frame", "Stream"]

_log = structlog.get_logger()
FIRST_REQ_ID = 1_000_000_000
"""Far above the library's own counter, which starts at 1: an id used twice hangs the first call."""

LATE_ANSWERS_KEPT = 10_000

MOST_IN_FLIGHT = 32
"""Calls open on one socket. Answers usually take a tenth of a second and the limits admit six calls a second, so this
many wait only when Deriv is slow; what is sent to it then is lost with the socket."""
EXIT_ROOM = 8
"""Further calls, for closing positions."""
OWN_STREAMS = 4
"""Streams of a socket's that are kept for those of the account itself."""
_OWN_STREAMS = frozenset({Call.TRANSACTION, Call.BALANCE})
_LARGE = frozenset({Call.TICKS_HISTORY, Call.STATEMENT, Call.PROFIT_TABLE})

_ordinals = itertools.count(1)


class CallRefusedError(Exception):
    """Deriv answered with an error."""

    def __init__(self, call: str, code: str, message: str) -> None:
        super().__init__(f"{call}: {code}: {message}")
        self.code = code
        self.message = message


class AnswerLostError(Exception):
    """No usable answer came. ``handed_over`` False proves that Deriv never saw the call.

    ``connection`` names the socket if that has taken the answer along.
    """

    def __init__(self, call: str, code: str, *, handed_over: bool, connection: str = "") -> None:
        super().__init__(f"{call}: {code}")
        self.code = code
        self.handed_over = handed_over
        self.connection = connection


@dataclass(slots=True)
class _Open:
    call: str
    on_late: Callable[[Frame], None] | None
    handed_over: bool = False
    answer: Frame | None = None


@dataclass(slots=True)
class Stream:
    """A running subscription."""

    req_id: int
    stream_id: str


class Connection:
    """A socket that is open. It is used until it closes, then thrown away."""

    def __init__(self, name: str, socket: ClientConnection, codec: Codec, clock: Clock) -> None:
        self.name = name
        self._socket = socket
        self._codec = codec
        self._clock = clock
        self.health = Health(health_timeouts(clock), clock.now_ns())
        self.may_linger = False
        """Whether it was given up in silence, so that Deriv may not have heard of its end."""
        self.on_room: Callable[[], None] | None = None
        """Hears that a call has ended on a socket that had no room for another."""
        self._key = f"{name}#{next(_ordinals)}"
        self._adapter = LibraryAdapter(self.transmit)
        self._req_ids = itertools.count(FIRST_REQ_ID)
        self._open: dict[int, _Open] = {}
        self._late: OrderedDict[int, Callable[[Frame], None]] = OrderedDict()
        self._streams: dict[int, Callable[[Frame], None]] = {}
        self.ending: set[str] = set()
        """Ids of streams that Deriv is being told to end: what still arrives of them goes nowhere."""
        self._closed = asyncio.Event()
        self._retiring: asyncio.Task[None] | None = None
        self.on_stray: Callable[[Connection, str], None] | None = None
        """Hears of the id of a stream that Deriv sends and nobody takes, as after a lost answer: it should be ended."""
        self._reader = asyncio.create_task(self._read(), name=f"read {name}")

    @property
    def is_open(self) -> bool:
        """Whether calls may be made."""
        return not self._closed.is_set() and self._retiring is None

    @property
    def open_calls(self) -> int:
        return len(self._open)

    @property
    def stream_count(self) -> int:
        return len(self._streams)

    @property
    def held(self) -> Counter[str]:
        """What it holds on to, by name."""
        return Counter(
            calls_open=len(self._open),
            calls_in_library=self._adapter.pending,
            calls_late=len(self._late),
            streams=len(self._streams),
            streams_ending=len(self.ending),
        )

    def has_room(self, *, for_exit: bool = False) -> bool:
        """Whether another call may be in flight."""
        return len(self._open) < MOST_IN_FLIGHT + (EXIT_ROOM if for_exit else 0)

    def has_stream_room(self, call: Call) -> bool:
        """Whether another stream fits. Deriv's cap is per socket."""
        kept = 0 if call in _OWN_STREAMS else OWN_STREAMS
        return len(self._streams) < max(1, self._codec.limits.streams.per_connection - kept)

    async def closed(self) -> None:
        """Wait for the end of the socket."""
        await self._closed.wait()

    async def call(
        self,
        request: Request,
        timeout_s: float,
        on_late: Callable[[Frame], None] | None = None,
        sink: Callable[[Frame], None] | None = None,
    ) -> Frame:
        """Make one call and return its answer.

        ``timeout_s`` is fleet time. ``on_late`` gets the answer if it comes after the timeout, ``sink`` the frames that
        follow it. Raises CallRefusedError for Deriv's error, AnswerLostError for everything else; no call is ever sent
        twice.
        """
        req_id = next(self._req_ids)
        frame = self._codec.encode_request(request, req_id)
        if not self.is_open:
            raise AnswerLostError(request.call, "ConnectionClosed", handed_over=False)
        entry = self._open[req_id] = _Open(request.call, on_late)
        if sink is not None:
            self._streams[req_id] = sink
        lost = "ConnectionClosed"
        try:
            try:
                async with self._clock.timeout(timeout_s):
                    await self._adapter.send(frame)
            except TimeoutError:
                lost = "Timeout"
            except (ConnectionError, ConnectionClosed):
                pass
            finally:
                self._forget(req_id, entry)
            # An answer may have arrived in the very moment of the timeout: then it counts.
            return self._judge(request.call, entry, lost)
        except BaseException:
            self._streams.pop(req_id, None)
            raise

    async def subscribe(self, request: Request, timeout_s: float, sink: Callable[[Frame], None]) -> Stream:
        """Open a stream: ``sink`` gets every frame, beginning with the answer. Raises as :meth:`call` does."""
        # The next frame can be read before this task runs again; it must not overtake the first.
        held: list[Frame] = []
        first = await self.call(request, timeout_s, sink=held.append)
        req_id = first["req_id"]
        for frame in (first, *held):
            self._give(sink, frame)
        if req_id in self._streams:
            self._streams[req_id] = sink
        return Stream(req_id, self._stream_id_of(first))

    def drop(self, stream: Stream) -> None:
        """Stop listening to a stream."""
        self._streams.pop(stream.req_id, None)

    def retire(self) -> None:
        """Make no more calls, let Deriv answer what it has, close."""
        if self._retiring is None:
            self._retiring = asyncio.create_task(self._socket.close(), name=f"retire {self.name}")

    async def close(self) -> None:
        """Close the socket; open calls end as lost."""
        await self._socket.close()
        await self._reader

    def abort(self) -> None:
        """End at once, without waiting for the closing handshake."""
        self._socket.transport.abort()

    def give_up(self) -> None:
        """Abandon a socket that does not answer; its open calls end as lost."""
        if not self._closed.is_set():
            self.may_linger = self.health.verdict >= Verdict.SUSPECT
            self.abort()

    async def transmit(self, req_id: int, text: str) -> None:
        """Called by the library: from here on the frame may have reached Deriv."""
        entry = self._open.get(req_id)
        if entry is None or not self.is_open:
            raise ConnectionError("the socket is closed")
        entry.handed_over = True
        self.health.sent(req_id, self._clock.now_ns(), timed=entry.call not in _LARGE)
        await self._socket.send(text)

    def _forget(self, req_id: int, entry: _Open) -> None:
        had_room = self.has_room()
        del self._open[req_id]
        self.health.given_up(req_id, self._clock.now_ns())
        if not had_room and self.on_room is not None:
            self.on_room()
        if entry.answer is None and entry.on_late is not None:
            self._late[req_id] = entry.on_late
            if len(self._late) > LATE_ANSWERS_KEPT:
                self._late.popitem(last=False)

    def _judge(self, call: str, entry: _Open, lost: str) -> Frame:
        answer = entry.answer
        if answer is None:
            with_socket = self._key if lost == "ConnectionClosed" else ""
            raise AnswerLostError(call, lost, handed_over=entry.handed_over, connection=with_socket)
        try:
            error = self._codec.decode_error(answer)
        except MalformedAnswer:
            raise AnswerLostError(call, "MalformedAnswer", handed_over=True) from None
        if error is not None:
            raise CallRefusedError(call, error.code, error.message)
        if not isinstance(answer.get("msg_type"), str):
            raise AnswerLostError(call, "MalformedAnswer", handed_over=True)
        return answer

    async def _read(self) -> None:
        try:
            async for data in self._socket:
                text = data if isinstance(data, str) else data.decode(errors="replace")
                self._take(text)
                # Frames that have arrived together, as the settlements of a tick, must not keep calls waiting.
                await asyncio.sleep(0)
        except ConnectionClosed:
            pass  # how it ended is in the socket's close code, logged below
        finally:
            self._closed.set()
            for req_id, entry in self._open.items():
                if entry.answer is None:
                    self._adapter.end(req_id)
            self._adapter.close()
            self._streams.clear()
            self._socket.transport.abort()  # does nothing to a closed one; a reader that failed leaves an open one
            _log.info("socket closed", connection=self.name, close_code=self._socket.close_code)

    def _take(self, text: str) -> None:
        try:
            frame = from_json(text)
        except MalformedFrame:
            _log.warning("garbage from Deriv ignored", connection=self.name, length=len(text))
            return
        now_ns = self._clock.now_ns()
        self.health.heard(now_ns)
        req_id = frame.get("req_id")
        req_id = req_id if isinstance(req_id, int) else 0
        entry = self._open.get(req_id)
        if entry is not None and entry.answer is None:
            entry.answer = frame
            self.health.answered(req_id, now_ns)
            self._adapter.deliver(req_id, text, frame)
        elif taker := self._late.pop(req_id, None) or self._streams.get(req_id):
            self._give(taker, frame)
        elif entry is None:
            self._take_stray(frame)

    def _take_stray(self, frame: Frame) -> None:
        stream_id = self._stream_id_of(frame)
        _log.debug("frame without a taker", connection=self.name, msg_type=frame.get("msg_type"))
        if stream_id and stream_id not in self.ending and self.on_stray is not None and self.is_open:
            self.ending.add(stream_id)
            self.on_stray(self, stream_id)

    def _stream_id_of(self, frame: Frame) -> str:
        try:
            return self._codec.stream_id_of(frame) or ""
        except MalformedAnswer:
            return ""

    def _give(self, sink: Callable[[Frame], None], frame: Frame) -> None:
        """Hand a frame on. A taker's mistake must not end the socket that everybody else reads from."""
        try:
            sink(frame)
        except Exception:  # noqa: BLE001 - whatever it is, it is the taker's, and is logged with its traceback
            _log.exception("a frame's taker failed", connection=self.name, msg_type=frame.get("msg_type"))

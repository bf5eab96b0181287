"""What is thrown at in this process: decoding, a connection, a fleet file. A target raises what should not be."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self, cast

import structlog

from derivfleet.common.clock import FleetClock
from derivfleet.common.errors import ConfigurationError
from derivfleet.common.fleet import load_fleet
from derivfleet.connection.connection import AnswerLostError, CallRefusedError, Connection
from derivfleet.deriv import requests
from derivfleet.deriv.dialects import dialect, from_json
from derivfleet.deriv.errors import MalformedAnswer, MalformedFrame
from derivfleet.deriv.symbols import SYMBOLS
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.gateway.rpc import messages
from tests.fuzz import corpus
from tests.fuzz.memory_socket import Socket
from tests.fuzz.mutators import broken_bytes, broken_json, broken_text, garbage

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping, Sequence

    from websockets.asyncio.client import ClientConnection

    from derivfleet.deriv.dialects import Codec, Frame

__all__ = [
    "GARBAGE_SHARE",
    "LOGGED_ERRORS",
    "ConnectionTarget",
    "FleetTarget",
    "FrameTarget",
    "Target",
    "WrongError",
    "chance_of",
]

GARBAGE_SHARE = 0.02


class WrongError(AssertionError):
    """Something did not raise, but is not as it should be."""


class LoggedErrors:
    """Hears what the code under test logs: that a task failed is as bad as if it had ended the process."""

    def __init__(self) -> None:
        self._heard: list[str] = []

    def __call__(self, _logger: object, method: str, event: MutableMapping[str, Any]) -> NoReturn:
        if method in ("error", "critical") or event.get("exc_info"):
            self._heard.append(f"{event.get('event')}: {sys.exc_info()[1]!r}")
        raise structlog.DropEvent

    def listen(self) -> None:
        """From now on hear everything, and let nothing be printed."""
        structlog.configure(processors=[self])

    def heard(self) -> str:
        """What was heard since this was last asked."""
        heard, self._heard = self._heard, []
        return "; ".join(heard)


LOGGED_ERRORS = LoggedErrors()


def chance_of(seed: int, target: str, number: int) -> Random:
    """The generator of one case: nothing else decides what it is."""
    return Random(f"{seed}/{target}/{number}")  # noqa: S311 - a die, no secret


class Target(Protocol):
    """Something to throw at. Entered once, then used for many cases."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def make(self, chance: Random) -> bytes:
        """A case."""
        ...

    def throw(self, case: bytes) -> None:
        """Raises whatever should not have been raised."""
        ...


class _Plain:
    """A target that needs nothing set up."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to put back."""


def _frame(chance: Random) -> bytes:
    if chance.random() < GARBAGE_SHARE:
        return garbage(chance)
    texts = [text for _, text in corpus.frames()]
    text = chance.choice(texts)
    return broken_text(chance, text) if chance.random() < 0.2 else broken_json(chance, text, texts)


class FrameTarget(_Plain):
    """Reading a frame, in both dialects, as every answer that there is; and telling bots what was read."""

    def __init__(self) -> None:
        self._codecs = [dialect(name) for name in Dialect]

    def make(self, chance: Random) -> bytes:
        return _frame(chance)

    def throw(self, case: bytes) -> None:
        try:
            frame = from_json(case.decode(errors="replace"))
        except MalformedFrame:
            return
        for codec in self._codecs:
            for name in dir(codec):
                if name.startswith("decode_") and name != "decode_request":
                    self._decode(getattr(codec, name), frame)
            self._tell(codec, frame)

    @staticmethod
    def _decode(decode: Callable[[Frame], object], frame: Frame) -> None:
        with suppress(MalformedAnswer):
            decode(frame)

    @staticmethod
    def _tell(codec: Codec, frame: Frame) -> None:
        """What goes on to bots: it must fit into a message, or be no answer."""
        with suppress(MalformedAnswer):
            messages.tick_message(codec.decode_tick(frame).tick).SerializeToString()
        with suppress(MalformedAnswer):
            contract = codec.decode_contract(frame)
            if contract is not None:
                messages.contract_message("demo", contract).SerializeToString()
        with suppress(MalformedAnswer):
            history = codec.decode_history(frame)
            message = messages.history_message("R_100", 60, history.prices, history.candles, history.decimals or 0)
            message.SerializeToString()


class ConnectionTarget(_Plain):
    """A connection with a call and a stream open is sent something; then it must take what is whole.

    What was sent may answer the call, the stream, or nobody. Whatever it was, the socket goes on: a proper answer ends
    the call if it is open still, the next call is answered, and nothing of either stays behind.
    """

    MOST_TURNS = 200
    CASES_A_SOCKET = 500

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._codec = dialect(Dialect.OPTIONS)
        self._sent: list[dict[str, Any]] = []
        """Frames of the connection's that were not answered yet."""
        self._socket = Socket(self._take)
        self._connection: Connection | None = None
        self._cases = 0

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._renew(again=False))
        self._loop.close()

    def make(self, chance: Random) -> bytes:
        case = _frame(chance)
        # Two of three are addressed to somebody who waits.
        to = chance.choice((b"CALL", b"STREAM", b""))
        return to + b"\n" + (_addressed(chance, case) if to else case)

    def throw(self, case: bytes) -> None:
        self._loop.run_until_complete(self._throw(case))

    async def _renew(self, *, again: bool) -> None:
        if self._connection is not None:
            self._connection.abort()
            await asyncio.wait_for(self._connection.closed(), 5)
        self._cases = 0
        self._connection = None
        if again:
            self._socket = Socket(self._take)
            self._connection = Connection("fuzz", cast("ClientConnection", self._socket), self._codec, FleetClock())

    async def _throw(self, case: bytes) -> None:
        if self._connection is None or self._cases >= self.CASES_A_SOCKET:
            await self._renew(again=True)
        connection = self._connection
        if connection is None:
            raise WrongError("there is no connection")
        self._cases += 1
        try:
            await self._play(connection, case)
        except BaseException:
            self._connection = None
            raise

    async def _play(self, connection: Connection, case: bytes) -> None:
        self._sent.clear()
        opening = asyncio.ensure_future(
            connection.subscribe(requests.Ticks(ticks="R_100", subscribe=1), 60, self._decode_tick)
        )
        await self._turns(lambda: bool(self._sent))
        stream_id = self._answer("tick", {"subscription": {"id": "0b1c2d3e-0000-4000-8000-000000000010"}})
        await self._turns(opening.done)
        stream = opening.result()
        calling = asyncio.ensure_future(connection.call(requests.Time(time=1), 60, lambda _: None))
        await self._turns(lambda: bool(self._sent))
        to, _, text = case.partition(b"\n")
        req_id = {b"CALL": self._sent[-1]["req_id"], b"STREAM": stream_id}.get(to, 0)
        self._socket.put(text.replace(b"4242424242", str(req_id).encode()).decode(errors="replace"))
        for _ in range(6):
            await asyncio.sleep(0)
        if not connection.is_open:
            raise WrongError("the connection ended over a frame")
        self._answer("time", {"time": 1})
        await self._ended(calling)
        again = asyncio.ensure_future(connection.call(requests.Time(time=1), 60))
        await self._turns(lambda: bool(self._sent))
        self._answer("time", {"time": 1})
        if (await self._ended(again) or {}).get("time") != 1:
            raise WrongError("the next call was not answered")
        connection.drop(stream)
        if connection.open_calls or connection.stream_count:
            raise WrongError(f"{connection.open_calls} calls and {connection.stream_count} streams stayed behind")

    def _take(self, text: str) -> None:
        self._sent.append(json.loads(text))

    def _answer(self, msg_type: str, body: dict[str, Any]) -> int:
        """A proper answer to the call that was sent last; its id."""
        asked = self._sent[-1]
        self._sent.clear()
        answer = {"msg_type": msg_type, "req_id": asked["req_id"], "echo_req": asked, **body}
        self._socket.put(json.dumps(answer))
        return int(asked["req_id"])

    def _decode_tick(self, frame: Frame) -> None:
        with suppress(MalformedAnswer):
            self._codec.decode_tick(frame)

    async def _ended(self, calling: asyncio.Future[Frame]) -> Frame | None:
        await self._turns(calling.done)
        with suppress(CallRefusedError, AnswerLostError):
            return calling.result()
        return None

    async def _turns(self, holds: Callable[[], bool]) -> None:
        """Let the loop turn until it holds; time does not pass, so what is not done by then never is."""
        for _ in range(self.MOST_TURNS):
            if holds():
                return
            await asyncio.sleep(0)
        raise WrongError("a call hangs though it was answered")


def _addressed(chance: Random, case: bytes) -> bytes:
    """Something with a place for the id of who waits, if it has the form of an object."""
    if not case.startswith(b"{"):
        return case
    req_id = chance.choice(
        (b"4242424242", b"4242424242", b"4242424242", b'"4242424242"', b"4242424242.0", b"[4242424242]")
    )
    return b'{"req_id":' + req_id + b"," + case[1:].replace(b'"req_id"', b'"was_id"')


class FleetTarget:
    """Reading a fleet file: it is a fleet, or the complaint names the key in one line."""

    LONGEST_LINE = 2000

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        self._path = Path(self._folder.name) / "fleet.yaml"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def make(self, chance: Random) -> bytes:
        if chance.random() < GARBAGE_SHARE:
            return garbage(chance)[:20_000]
        files: Sequence[str] = corpus.fleet_files()
        text = chance.choice(files)
        match chance.randrange(4):
            case 0:
                return broken_text(chance, text)
            case 1:
                return _changed_word(chance, text)
            case 2:
                return broken_bytes(chance, _changed_word(chance, text))
            case _:
                return broken_json(chance, _as_json(text), [_as_json(one) for one in files[:2]])

    def throw(self, case: bytes) -> None:
        self._path.write_bytes(case)
        try:
            load_fleet(self._path, frozenset(SYMBOLS))
        except ConfigurationError as error:
            line = f"{error.key}: {error.problem}"
            if "\n" in line or len(line) > self.LONGEST_LINE:
                raise WrongError(f"the complaint is no line: {len(line)} characters") from None


_WORDS = (
    "null", "~", "yes", "0x1F", "0o17", "1:99:99", "2026-13-45", "2026-01-01", ".nan", ".inf", "-.inf",
    "1e999", "[]", "{}",
    "''", "!!int x", "!!binary x", "!!set {a}", "!!python/object:os.system x", "&x [*x]", "*x", "<<: *x", "|",
    ">", "9" * 30,
    "-1", "0", "0.355", "1e-9", "operator", "1HZ100V", "a.b", "\u0661", "{a: {a: {a: 1}}}", "[[[[[[]]]]]]", "? a", "'",
)  # fmt: skip


def _changed_word(chance: Random, text: str) -> bytes:
    """One word of a file in place of another's."""
    words = text.split(" ")
    for _ in range(chance.choice((1, 1, 2, 3))):
        words[chance.randrange(len(words))] = chance.choice((*_WORDS, chance.choice(words)))
    return " ".join(words).encode("utf-8", "surrogatepass")


def _as_json(text: str) -> str:
    """A fleet file as JSON, which is YAML too."""
    if text not in _JSON:
        import yaml  # noqa: PLC0415 - only here

        _JSON[text] = json.dumps(yaml.safe_load(text))
    return _JSON[text]


_JSON: dict[str, str] = {}

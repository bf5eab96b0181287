"""An exchange without sockets: frames in, frames out, and time that passes when a test says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

from derivfleet.deriv.dialects import Frame, from_json, to_json
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.simulator.core.effects import Close, Effect, Freeze, Send
from derivfleet.simulator.core.exchange import Credentials, Exchange
from derivfleet.simulator.core.settings import SimulatorSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

START_S = 1_795_161_600
TOKEN = "a1-TOKEN"
APP_ID = "12345"
NS = 1_000_000_000


class Harness:
    """One exchange, its sockets, and what each of them was sent. Every frame is checked against Deriv's schemas."""

    def __init__(self, valid: Callable[[Dialect, str], None], settings: SimulatorSettings, seed: str) -> None:
        self.exchange = Exchange(seed, Credentials(TOKEN, APP_ID), settings, START_S)
        self.now_ns = START_S * NS
        self.closed: dict[int, Close] = {}
        self.delays: list[float] = []
        self.frozen: set[int] = set()
        self._valid = valid
        self._inbox: dict[int, list[Frame]] = {}
        self._dialects: dict[int, Dialect] = {}
        self._req_id = 0

    @property
    def now_s(self) -> int:
        return self.now_ns // NS

    def connect(self, dialect: Dialect = Dialect.OPTIONS, *, login: bool = True, address: str = "10.0.0.1") -> int:
        account = self.exchange.options_account.loginid if login and dialect is Dialect.OPTIONS else None
        connection = self.exchange.connect(dialect, APP_ID, address, self.now_ns, account)
        self._dialects[connection.number] = dialect
        self._inbox[connection.number] = []
        if login and dialect is Dialect.LEGACY:
            (answer,) = self.ask(connection.number, authorize=TOKEN)
            assert "error" not in answer
        return connection.number

    def ask(self, number: int, **fields: Any) -> list[Frame]:
        """Send a request; all frames that answer it at once."""
        self._req_id += 1
        req_id = fields.setdefault("req_id", self._req_id)
        self._take(self.exchange.receive(number, to_json(fields), self.now_ns))
        answers = [frame for frame in self._inbox[number] if frame.get("req_id") == req_id]
        self._inbox[number] = [frame for frame in self._inbox[number] if frame.get("req_id") != req_id]
        return answers

    def one(self, number: int, **fields: Any) -> Frame:
        """The same for a request that has one answer, which is no error; states of a contract it bought stay there."""
        answer, *others = self.ask(number, **fields)
        assert all(answer["msg_type"] == "buy" != other["msg_type"] for other in others)
        self._inbox[number] = others + self._inbox[number]
        assert "error" not in answer, answer["error"]
        return answer

    def refused(self, number: int, **fields: Any) -> str:
        """The error code of a request that has one answer, which is an error."""
        (answer,) = self.ask(number, **fields)
        return str(answer["error"]["code"])

    def raw(self, number: int, text: str) -> list[Frame]:
        """Send any text; all frames that the socket got since it was last looked at."""
        self._take(self.exchange.receive(number, text, self.now_ns))
        return self.inbox(number)

    def inbox(self, number: int) -> list[Frame]:
        """What a socket was sent since it was last looked at."""
        found, self._inbox[number] = self._inbox[number], []
        return found

    def wait(self, seconds: float) -> None:
        """Let time pass, a second at a time as the wire does."""
        end_ns = self.now_ns + round(seconds * NS)
        while self.now_ns // NS < end_ns // NS:
            self.now_ns = (self.now_ns // NS + 1) * NS
            self._take(self.exchange.advance(self.now_s))
        self.now_ns = end_ns

    def _take(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(connection=number, text=text, delay_s=delay_s):
                    if "echo_req" in text:
                        self._valid(self._dialects[number], text)
                        self._inbox[number].append(from_json(text))
                    else:
                        self._inbox[number].append({"raw": text})
                    self.delays.append(delay_s)
                case Close(connection=number):
                    self.closed[number] = effect
                    self.exchange.disconnect(number)
                case Freeze(connection=number):
                    self.frozen.add(number)


class MakeHarness(Protocol):
    def __call__(self, *, seed: str = "1", **settings: Any) -> Harness: ...


@pytest.fixture(scope="session")
def make_harness(valid_answer: Callable[[Dialect, str], None]) -> MakeHarness:
    def make(*, seed: str = "1", **settings: Any) -> Harness:
        return Harness(valid_answer, SimulatorSettings.model_validate(settings), seed)

    return make


@pytest.fixture
def harness(make_harness: MakeHarness) -> Harness:
    return make_harness()

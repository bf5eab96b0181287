"""``python -m bench.gateway.paced_load``: calls at a rate, through the gateway or straight to the simulator.

On two cores the caller shares a processor with what it measures, so it is the least that makes the calls of either way:
one loop, no tasks, sockets read by hand. What a bot's gRPC library or a WebSocket library of its own would take is in
neither way's times.

A line of JSON in is an order, a line of JSON out its result.
"""

from __future__ import annotations

import json
import select
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict

from bench.gateway.fleet_setup import ACCOUNT, SYMBOL, TERMS, order_name, terms_message, token_of
from bench.gateway.http2 import Link
from bench.gateway.raw_socket import RawSocket
from derivfleet.deriv import requests
from derivfleet.deriv.vocabulary import Basis, DurationUnit, HistoryStyle
from derivfleet.v1 import trading_pb2

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

    from google.protobuf.message import Message

SERVICE = "/derivfleet.v1.TradingService"
ANSWERED, FAILED = "answered", "failed"
HISTORY_COUNT = 10
WIRES = 4
"""Sockets that Deriv allows an account; the clients share them."""
RENEW_EVERY_S = 1.0
WARM_UP_CALLS = 2
CALM_S = 2.5
"""From the last call of the warm-up to the first that counts: what was bought is settled by then."""
PATIENCE_S = 30.0


class Task(BaseModel):
    """What to do. Clients stay connected from one order to the next."""

    model_config = ConfigDict(extra="forbid")

    to: str
    """gateway or simulator."""
    port: int
    tokens: str = ""
    kinds: tuple[str, ...]
    """Made in turn by each client: buy, live (a look at the contract bought last), history."""
    clients: int
    rate: float
    """Calls a second of all clients together, each on time whether or not the last was answered."""
    seconds: float


class Client(Protocol):
    """Sends calls; their answers are read from its socket, which others may share."""

    socket: socket.socket

    def send(self, kind: str) -> int:
        """Make a call; returns its number on this socket."""
        ...

    def read(self) -> Iterator[tuple[int, Any]]:
        """Calls of this socket that have ended: number and answer, None for none."""
        ...

    def took(self, kind: str, answer: Any) -> str:
        """Keep what the next call needs of an answer; returns the outcome."""
        ...


class OfBot:
    """A bot's calls over a connection of its own, and its lease."""

    def __init__(self, task: Task, index: int) -> None:
        headers = {"authorization": f"Bearer {token_of(Path(task.tokens), index)}", "grpc-timeout": "30S"}
        self._link = Link(task.port, headers)
        self.socket = self._link.socket
        self._order = order_name(index)
        self._prefix = f"run-{index}"
        self._ordinal = 0
        self._epoch = 0
        self._renewal = 0
        self._unanswered: set[int] = set()
        self.renew_at = time.monotonic() + RENEW_EVERY_S * (index % 100) / 100
        """Bots start at different times, so they do not all renew in the same moment."""
        self.renew()

    def renew(self) -> None:
        """Renew the lease on the bot's symbol."""
        request = trading_pb2.RenewLeasesRequest(account=ACCOUNT, replica="bench")
        self._renewal = self._open("RenewLeases", request)
        self.renew_at += RENEW_EVERY_S

    def send(self, kind: str) -> int:
        match kind:
            case "buy":
                self._ordinal += 1
                buy = trading_pb2.BuyRequest(
                    account=ACCOUNT,
                    order_id=f"{self._prefix}-{self._ordinal}",
                    terms=terms_message(),
                    replica="bench",
                    lease_epoch=self._epoch,
                )
                return self._open("Buy", buy)
            case "live":
                look = trading_pb2.CheckRequest(account=ACCOUNT, order_id=self._order, live=True)
                return self._open("Check", look)
            case "history":
                past = trading_pb2.HistoryRequest(account=ACCOUNT, symbol=SYMBOL, count=HISTORY_COUNT)
                return self._open("History", past)
            case _:
                raise ValueError(kind)

    def _open(self, method: str, request: Message) -> int:
        stream = self._link.open(f"{SERVICE}/{method}", request.SerializeToString())
        self._unanswered.add(stream)
        return stream

    def read(self) -> Iterator[tuple[int, bytes | None]]:
        for stream, message in self._link.read():
            self._unanswered.discard(stream)
            if stream == self._renewal:
                leases = trading_pb2.RenewLeasesResponse.FromString(message).leases
                self._epoch = leases[0].epoch if leases else 0
            else:
                yield stream, message
        for stream in self._link.ended:
            if stream in self._unanswered:
                self._unanswered.remove(stream)
                yield stream, None
        self._link.ended.clear()

    def took(self, kind: str, answer: bytes | None) -> str:
        if answer is not None and kind == "buy":
            self._order = trading_pb2.BuyResponse.FromString(answer).order.order_id
        return FAILED if answer is None else ANSWERED


class Direct:
    """The same calls without a gateway."""

    def __init__(self, wire: RawSocket) -> None:
        self._wire = wire
        self.socket = wire.socket
        self.read = wire.read
        self._contract_id = 0

    def send(self, kind: str) -> int:
        match kind:
            case "buy":
                parameters = requests.BuyParameters(
                    amount=TERMS.stake,
                    basis=Basis.STAKE,
                    contract_type=TERMS.contract_type,
                    currency="USD",
                    duration=TERMS.duration,
                    duration_unit=DurationUnit(TERMS.duration_unit),
                    barrier=TERMS.barrier,
                    underlying_symbol=TERMS.symbol,
                )
                return self._wire.send(requests.Buy(buy="1", price=TERMS.stake, parameters=parameters))
            case "live":
                return self._wire.send(
                    requests.ProposalOpenContract(proposal_open_contract=1, contract_id=self._contract_id)
                )
            case "history":
                return self._wire.send(
                    requests.TicksHistory(
                        ticks_history=SYMBOL, end="latest", count=HISTORY_COUNT, style=HistoryStyle.TICKS
                    )
                )
            case _:
                raise ValueError(kind)

    def took(self, kind: str, answer: dict[str, Any]) -> str:
        if "error" in answer:
            return str(answer["error"]["code"])
        if kind == "buy":
            self._contract_id = answer["buy"]["contract_id"]
        return ANSWERED


class Callers:
    """Keeps its clients connected between orders."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, int, int], Client] = {}
        self._wires: dict[tuple[int, int], RawSocket] = {}
        self._poll = select.epoll()
        self._sockets: dict[int, Client] = {}
        """One client of each socket: any of them may read it."""
        self._open: dict[tuple[int, int], tuple[Client, str, float]] = {}
        self._took_ms: dict[str, list[float]] = {}
        self._outcomes: Counter[str] = Counter()

    def _client(self, task: Task, index: int) -> Client:
        key = (task.to, task.port, index)
        if key not in self._clients:
            client: Client = OfBot(task, index) if task.to == "gateway" else Direct(self._wire(task.port, index))
            self._clients[key] = client
            if client.socket.fileno() not in self._sockets:
                self._sockets[client.socket.fileno()] = client
                self._poll.register(client.socket.fileno(), select.EPOLLIN)
        return self._clients[key]

    def _wire(self, port: int, index: int) -> RawSocket:
        key = (port, index % WIRES)
        if key not in self._wires:
            self._wires[key] = RawSocket(port)
        return self._wires[key]

    def carry_out(self, task: Task) -> dict[str, Any]:
        clients = [self._client(task, index) for index in range(task.clients)]
        bots = [client for client in clients if isinstance(client, OfBot)]
        for bot in bots:  # those of an earlier order have not renewed since
            bot.renew_at = max(bot.renew_at, time.monotonic() + bot.renew_at % RENEW_EVERY_S)
            bot.renew()
        self._listen(bots, time.monotonic() + 0.5)
        self._make(clients, bots, task.kinds, task.rate, WARM_UP_CALLS * len(task.kinds) * len(clients))
        self._listen(bots, time.monotonic() + CALM_S)
        self._took_ms = {kind: [] for kind in task.kinds}
        self._outcomes.clear()
        start_cpu = time.process_time()
        self._make(clients, bots, task.kinds, task.rate, round(task.rate * task.seconds))
        calls = sum(self._outcomes.values())
        return {
            "calls": calls,
            "outcomes": dict(self._outcomes),
            "client_cpu_us": (time.process_time() - start_cpu) / calls * 1e6,
            "took_ms": self._took_ms,
        }

    def _make(
        self, clients: Sequence[Client], bots: Sequence[OfBot], kinds: Sequence[str], rate: float, calls: int
    ) -> None:
        start = time.monotonic()
        for number in range(calls):
            self._listen(bots, start + number / rate)
            client = clients[number % len(clients)]
            kind = kinds[number // len(clients) % len(kinds)]
            sent = time.perf_counter()
            self._open[client.socket.fileno(), client.send(kind)] = client, kind, sent
        end = time.monotonic() + PATIENCE_S
        while self._open and time.monotonic() < end:
            self._listen(bots, time.monotonic() + 0.001)
        self._outcomes["lost"] += len(self._open)
        self._open.clear()

    def _listen(self, bots: Sequence[OfBot], until: float) -> None:
        """Take what comes, and renew leases, until an instant."""
        while True:
            now = time.monotonic()
            for number, _ in self._poll.poll(max(0.0, min(0.01, until - now))):
                self._take(number)
            if now >= until:
                return
            for bot in bots:
                if bot.renew_at <= now:
                    bot.renew()

    def _take(self, number: int) -> None:
        for ordinal, answer in self._sockets[number].read():
            taken = time.perf_counter()
            call = self._open.pop((number, ordinal), None)
            if call is not None:
                client, kind, sent = call
                self._took_ms.setdefault(kind, []).append((taken - sent) * 1e3)
                self._outcomes[client.took(kind, answer)] += 1


def main() -> None:
    callers = Callers()
    while line := sys.stdin.readline():
        sys.stdout.write(json.dumps(callers.carry_out(Task.model_validate_json(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

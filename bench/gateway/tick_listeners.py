"""``python -m bench.gateway.tick_listeners``: a thousand bots that listen, each on its own connection.

A further socket listens to the simulator itself, so that a tick's way through the gateway is known from the moment at
which it was there for everybody.

A line of JSON in is an order, a line of JSON out its result.
"""

from __future__ import annotations

import json
import select
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from websockets.sync.client import connect

from bench.gateway.call_load import percentile
from bench.gateway.fleet_setup import ACCOUNT, SYMBOL, bot_name
from bench.gateway.http2 import Link
from bench.gateway.raw_socket import socket_url
from derivfleet.common.rpc.own_token import read_token
from derivfleet.v1 import trading_pb2

SERVICE = "/derivfleet.v1.TradingService"
RENEW_EVERY_S = 1.0
READ_EVERY_S = 0.001
"""The times that are measured are longer by up to so much."""


class Task(BaseModel):
    """What to do. The bots of an earlier order stay connected; ``bots`` tells how many there are then."""

    model_config = ConfigDict(extra="forbid")

    port: int
    simulator_port: int
    tokens: str
    bots: int
    ticks: bool = False
    """Whether each opens a stream of its ticks."""
    whole: bool = False
    """Whether each does besides all that a bot does: a stream of its orders, and its lease renewed every second."""
    seconds: float
    """How long to listen, after all have connected."""


class Bots:
    """The connections."""

    def __init__(self) -> None:
        self._links: dict[int, Link] = {}
        self._poll = select.epoll()
        self._ticks: dict[int, int] = {}
        """Socket → its stream of ticks."""
        self._orders: dict[int, int] = {}
        self.arrivals: dict[int, list[int]] = {}
        """Epoch of a tick → when each bot had it, in nanoseconds."""
        self.renewals_s: list[float] = []
        self._renewing: dict[tuple[int, int], float] = {}
        self.lost = 0

    def connect(self, task: Task) -> None:
        for index in range(len(self._links), task.bots):
            token = read_token(Path(task.tokens) / f"{bot_name(index)}.token", "token")
            link = Link(task.port, {"authorization": f"Bearer {token}"})
            self._links[link.socket.fileno()] = link
            self._poll.register(link.socket.fileno(), select.EPOLLIN)
            self.listen(0)

    def watch_ticks(self) -> None:
        request = trading_pb2.StreamTicksRequest(account=ACCOUNT, symbols=[SYMBOL]).SerializeToString()
        for number, link in self._links.items():
            if number not in self._ticks:
                self._ticks[number] = link.open(f"{SERVICE}/StreamTicks", request)
                self.listen(0)

    def watch_orders(self) -> None:
        request = trading_pb2.StreamOrdersRequest(account=ACCOUNT).SerializeToString()
        for number, link in self._links.items():
            if number not in self._orders:
                self._orders[number] = link.open(f"{SERVICE}/StreamOrders", request)
                self.listen(0)

    def listen(self, seconds: float, *, renew: bool = False) -> None:
        """Take what comes; with ``renew``, each bot renews its lease once a second, spread over the second."""
        request = trading_pb2.RenewLeasesRequest(account=ACCOUNT, replica="bench").SerializeToString()
        links = list(self._links.items())
        start, renewed = time.monotonic(), 0
        while True:
            now = time.monotonic()
            for number, _ in self._poll.poll(0):
                self._take(number)
            # Who sleeps in the poll is woken by every send of the gateway, which pays for that.
            time.sleep(READ_EVERY_S if seconds else 0)
            if now >= start + seconds:
                return
            while renew and renewed < (now - start) / RENEW_EVERY_S * len(links):
                number, link = links[renewed % len(links)]
                self._renewing[number, link.open(f"{SERVICE}/RenewLeases", request)] = now
                renewed += 1

    def _take(self, number: int) -> None:
        link = self._links[number]
        try:
            for stream, message in link.read():
                now_ns = time.monotonic_ns()
                if stream == self._ticks.get(number):
                    tick = trading_pb2.StreamTicksResponse.FromString(message).tick
                    self.arrivals.setdefault(tick.epoch_s, []).append(now_ns)
        except ConnectionError:
            self.lost += 1
            self._poll.unregister(number)
            return
        for stream in link.ended:
            asked = self._renewing.pop((number, stream), None)
            if asked is None:
                self.lost += 1
            else:
                self.renewals_s.append(time.monotonic() - asked)
        link.ended.clear()


def _listen_directly(port: int, arrivals: dict[int, int], stop: threading.Event) -> None:
    with connect(socket_url(port), compression=None) as socket:
        socket.send(json.dumps({"ticks": SYMBOL, "subscribe": 1, "req_id": 1}))
        while not stop.is_set():
            frame = json.loads(socket.recv(timeout=5))
            if "tick" in frame:
                arrivals[int(frame["tick"]["epoch"])] = time.monotonic_ns()


def carry_out(bots: Bots, task: Task) -> dict[str, Any]:
    bots.connect(task)
    if task.ticks:
        bots.watch_ticks()
    if task.whole:
        bots.watch_orders()
    bots.listen(2.0)
    direct: dict[int, int] = {}
    stop = threading.Event()
    listener = threading.Thread(target=_listen_directly, args=(task.simulator_port, direct, stop), daemon=True)
    listener.start()
    time.sleep(0.2)
    bots.arrivals.clear()
    bots.listen(task.seconds, renew=task.whole)
    bots.listen(1.0)
    stop.set()
    listener.join()
    ways = {
        epoch_s: [max(0, arrived_ns - direct[epoch_s]) / 1e6 for arrived_ns in arrived]
        for epoch_s, arrived in bots.arrivals.items()
        if epoch_s in direct and len(arrived) == task.bots
    }
    last = sorted(max(way) for way in ways.values())
    every = sorted(one for way in ways.values() for one in way)
    renewals = sorted(bots.renewals_s)
    return {
        "ticks": len(ways),
        "ticks_not_seen_by_all": len(bots.arrivals) - len(ways),
        "lost": bots.lost,
        "last_p50_ms": percentile(last, 50),
        "last_p99_ms": percentile(last, 99),
        "last_max_ms": percentile(last, 100),
        "each_p50_ms": percentile(every, 50),
        "each_p99_ms": percentile(every, 99),
        "renewals": len(renewals),
        "renewal_p99_ms": percentile(renewals, 99) * 1e3,
    }


def main() -> None:
    bots = Bots()
    while line := sys.stdin.readline():
        sys.stdout.write(json.dumps(carry_out(bots, Task.model_validate_json(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

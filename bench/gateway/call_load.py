"""``python -m bench.gateway.call_load``: a process that makes calls as it is told, and says how long they took.

A line of JSON in is an order, a line of JSON out its result. ``rate`` 0 calls again as soon as the answer is there;
any other is that many calls a second of all clients together, each on time whether or not the last was answered.
``at_once`` makes that many calls of the first client at the same moment, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from bench.gateway.clients import Client, Echoed, OfBot

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_UP_CALLS = 3


class Task(BaseModel):
    """What to do."""

    model_config = ConfigDict(extra="forbid")

    to: str
    """gateway or echo."""
    port: int
    tokens: str = ""
    kinds: tuple[str, ...] = ("check",)
    """Made in turn."""
    clients: int = 1
    first: int = 0
    """Index of the first client's bot."""
    seconds: float = 1.0
    rate: float = 0
    at_once: int = 0
    patience_s: float = 30.0
    run: str = "run"


class CallTimes:
    """What came of the calls."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.took_s: list[float] = []

    async def make(self, client: Client, kind: str) -> None:
        start = time.perf_counter()
        outcome = await client.call(kind)
        self.took_s.append(time.perf_counter() - start)
        self.outcomes[outcome] += 1


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Nearest rank; 0 of nothing."""
    if not ordered:
        return 0.0
    return ordered[max(0, -(-round(percent * 10) * len(ordered) // 1000) - 1)]


async def _again(client: Client, kinds: Sequence[str], end: float, call_times: CallTimes) -> None:
    for kind in cycle(kinds):
        if time.perf_counter() >= end:
            return
        await call_times.make(client, kind)


async def _on_time(clients: Sequence[Client], task: Task, call_times: CallTimes) -> None:
    calls: set[asyncio.Task[None]] = set()
    start = time.perf_counter()
    for number in range(round(task.rate * task.seconds)):
        await asyncio.sleep(max(0.0, start + number / task.rate - time.perf_counter()))
        kind = task.kinds[number // len(clients) % len(task.kinds)]
        call = asyncio.create_task(call_times.make(clients[number % len(clients)], kind))
        calls.add(call)
        call.add_done_callback(calls.discard)
    await asyncio.gather(*calls)


class Callers:
    """Keeps its clients connected between orders."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, int, int], Client] = {}

    async def _client(self, task: Task, index: int) -> Client:
        key = (task.to, task.port, index)
        client = self._clients.get(key)
        if client is None:
            match task.to:
                case "echo":
                    client = Echoed(task.port)
                case _:
                    client = OfBot(task.port, Path(task.tokens), index, task.run, task.patience_s)
            await client.open()
            self._clients[key] = client
        if isinstance(client, OfBot) and "buy" in task.kinds:
            await client.hold()
        return client

    async def carry_out(self, task: Task) -> dict[str, Any]:
        clients = [await self._client(task, task.first + index) for index in range(task.clients)]
        warming = CallTimes()
        if not task.at_once:
            for kind in task.kinds * WARM_UP_CALLS:
                await asyncio.gather(*(warming.make(client, kind) for client in clients))
        call_times = CallTimes()
        start, start_cpu = time.perf_counter(), time.process_time()
        if task.at_once:
            kinds = cycle(task.kinds)
            await asyncio.gather(*(call_times.make(clients[0], next(kinds)) for _ in range(task.at_once)))
        elif task.rate:
            await _on_time(clients, task, call_times)
        else:
            end = start + task.seconds
            await asyncio.gather(*(_again(client, task.kinds, end, call_times) for client in clients))
        seconds = time.perf_counter() - start
        cpu_s = time.process_time() - start_cpu
        for client in clients:
            if isinstance(client, OfBot):
                await client.let_go()
        ordered = sorted(call_times.took_s)
        return {
            "calls": len(ordered),
            "seconds": seconds,
            "calls_per_s": len(ordered) / seconds,
            "outcomes": dict(call_times.outcomes),
            "p50_ms": percentile(ordered, 50) * 1e3,
            "p99_ms": percentile(ordered, 99) * 1e3,
            "max_ms": percentile(ordered, 100) * 1e3,
            "client_cpu_us": cpu_s / max(1, len(ordered)) * 1e6,
        }

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients.values()))


async def main() -> None:
    callers = Callers()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        result = await callers.carry_out(Task.model_validate_json(line))
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
    await callers.close()


if __name__ == "__main__":
    asyncio.run(main())

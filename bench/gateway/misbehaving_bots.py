"""``python -m bench.gateway.misbehaving_bots``: a process of bots that behave badly, as it is told.

``deaf`` bots open a stream of many ticks and never read it. ``dying`` bots open streams and are gone in the middle of
them, again and again, without a word of farewell. A line of JSON in is an order, a line of JSON out its result.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from bench.gateway.fleet_setup import ACCOUNT, bot_name
from bench.gateway.http2 import Link
from derivfleet.common.rpc.own_token import read_token
from derivfleet.v1 import trading_pb2

STREAM_TICKS = "/derivfleet.v1.TradingService/StreamTicks"
SYMBOLS = [f"1HZ{index}V" for index in (10, 25, 50, 75, 100)] + [f"R_{index}" for index in (10, 25, 50, 75, 100)]


class Task(BaseModel):
    """What to do."""

    model_config = ConfigDict(extra="forbid")

    do: Literal["deaf", "dying"]
    port: int
    tokens: str
    first: int
    """Index of the first bot."""
    bots: int
    seconds: float


def _open(task: Task, index: int) -> Link:
    token = read_token(Path(task.tokens) / f"{bot_name(index)}.token", "token")
    link = Link(task.port, {"authorization": f"Bearer {token}"})
    link.open(STREAM_TICKS, trading_pb2.StreamTicksRequest(account=ACCOUNT, symbols=SYMBOLS).SerializeToString())
    return link


def _die(link: Link) -> None:
    """Reset the connection, as a killed machine's successor would."""
    link.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.close()


def carry_out(task: Task) -> dict[str, Any]:
    end = time.monotonic() + task.seconds
    deaths = 0
    while True:
        links = [_open(task, task.first + index) for index in range(task.bots)]
        time.sleep(task.seconds if task.do == "deaf" else 0.3)
        for link in links:
            _die(link)
            deaths += 1
        if time.monotonic() >= end:
            return {"connections": deaths}


def main() -> None:
    while line := sys.stdin.readline():
        sys.stdout.write(json.dumps(carry_out(Task.model_validate_json(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

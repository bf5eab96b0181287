"""The connection against a peer that behaves and misbehaves as Deriv can."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from derivfleet.common.clock import FleetClock
from derivfleet.connection.connection import AnswerLostError, CallRefusedError, Connection
from derivfleet.deriv import requests
from derivfleet.deriv.dialects import dialect
from derivfleet.deriv.vocabulary import Dialect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from websockets.asyncio.server import ServerConnection


TIMEOUT_S = 60.0


def answer(frame: dict[str, Any], msg_type: str, body: object, **more: object) -> str:
    return json.dumps({"msg_type": msg_type, "req_id": frame["req_id"], "echo_req": frame, msg_type: body, **more})


@asynccontextmanager
async def connected(
    peer: Callable[[ServerConnection, dict[str, Any]], Awaitable[None]],
) -> AsyncGenerator[Connection, None]:
    async def handle(socket: ServerConnection) -> None:
        async for text in socket:
            await peer(socket, json.loads(text))

    async with serve(handle, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        socket = await connect(f"ws://127.0.0.1:{port}", compression=None)
        connection = Connection("test", socket, dialect(Dialect.OPTIONS), FleetClock())
        try:
            yield connection
        finally:
            await connection.close()


async def test_answers_keep_their_decimals() -> None:
    async def peer(socket: ServerConnection, frame: dict[str, Any]) -> None:
        await socket.send(
            f'{{"msg_type":"balance","req_id":{frame["req_id"]},"echo_req":{{}},"balance":{{"balance":9999.10}}}}'
        )

    async with connected(peer) as connection:
        frame = await connection.call(requests.Balance(), TIMEOUT_S)
    assert frame["balance"]["balance"] == Decimal("9999.10")


async def test_answers_may_come_in_any_order() -> None:
    waiting: list[dict[str, Any]] = []

    async def peer(socket: ServerConnection, frame: dict[str, Any]) -> None:
        waiting.append(frame)
        if len(waiting) == 3:
            for held in reversed(waiting):
                await socket.send(answer(held, "time", held["req_id"]))

    async with connected(peer) as connection:
        frames = await asyncio.gather(*(connection.call(requests.Time(), TIMEOUT_S) for _ in range(3)))
    assert [frame["time"] for frame in frames] == [frame["req_id"] for frame in frames]
    assert connection.open_calls == 0


async def test_an_error_answer_is_a_refusal() -> None:
    async def peer(socket: ServerConnection, frame: dict[str, Any]) -> None:
        error = {"code": "RateLimit", "message": "You have reached the rate limit for time."}
        await socket.send(
            json.dumps({"msg_type": "time", "req_id": frame["req_id"], "echo_req": frame, "error": error})
        )

    async with connected(peer) as connection:
        with pytest.raises(CallRefusedError, match="rate limit") as caught:
            await connection.call(requests.Time(), TIMEOUT_S)
    assert caught.value.code == "RateLimit"


async def test_open_calls_end_when_the_socket_dies_and_later_ones_are_known_not_sent() -> None:
    async def peer(socket: ServerConnection, frame: dict[str, Any]) -> None:
        if "time" in frame:
            socket.transport.abort()

    async with connected(peer) as connection:
        results = await asyncio.gather(
            connection.call(requests.Balance(), TIMEOUT_S),
            connection.call(requests.Time(), TIMEOUT_S),
            return_exceptions=True,
        )
        await connection.closed()
        with pytest.raises(AnswerLostError) as later:
            await connection.call(requests.Time(), TIMEOUT_S)
    for result in results:
        assert isinstance(result, AnswerLostError)
        assert result.handed_over
    assert not later.value.handed_over


async def test_a_call_without_answer_times_out_and_its_late_answer_is_not_lost() -> None:
    release = asyncio.Event()
    late: list[dict[str, Any]] = []
    arrived = asyncio.Event()

    async def peer(socket: ServerConnection, frame: dict[str, Any]) -> None:
        await release.wait()
        await socket.send(answer(frame, "time", 5))

    def take(frame: dict[str, Any]) -> None:
        late.append(frame)
        arrived.set()

    async with connected(peer) as connection:
        with pytest.raises(AnswerLostError, match="Timeout") as caught:
            await connection.call(requests.Time(), 0.05, take)
        assert caught.value.handed_over
        release.set()
        await asyncio.wait_for(arrived.wait(), TIMEOUT_S)
        await connection.call(requests.Time(), TIMEOUT_S)
    assert [frame["time"] for frame in late] == [5]


@pytest.mark.parametrize("missing", ["msg_type", "echo_req"])
async def test_a_frame_that_would_kill_the_library_ends_only_its_own_call(missing: str) -> None:
    async def peer(socket: ServerConnection, frame: dict[str, Any]) -> None:
        whole = json.loads(answer(frame, "time", 5))
        if "balance" in frame:
            del whole[missing]
        await socket.send(json.dumps(whole))

    async with connected(peer) as connection:
        if missing == "msg_type":
            with pytest.raises(AnswerLostError, match="MalformedAnswer"):
                await connection.call(requests.Balance(), TIMEOUT_S)
        else:  # the new API may leave echo_req out
            assert (await connection.call(requests.Balance(), TIMEOUT_S))["time"] == 5
        assert (await connection.call(requests.Time(), TIMEOUT_S))["time"] == 5


async def test_garbage_is_ignored() -> None:
    async def peer(socket: ServerConnection, frame: dict[str, Any]) -> None:
        for garbage in ("not json", "[1, 2]", "17", '{"a": NaN}', b"\xff\xfe", '{"req_id": "x", "msg_type": 3}'):
            await socket.send(garbage)
        await socket.send(answer(frame, "time", 5))

    async with connected(peer) as connection:
        for _ in range(3):
            assert (await connection.call(requests.Time(), TIMEOUT_S))["time"] == 5


async def test_a_stream_gives_every_frame_beginning_with_the_answer() -> None:
    async def peer(socket: ServerConnection, frame: dict[str, Any]) -> None:
        for epoch in range(4):
            await socket.send(answer(frame, "tick", {"epoch": epoch}, subscription={"id": "s-1"}))

    got: list[int] = []
    done = asyncio.Event()

    def take(frame: dict[str, Any]) -> None:
        got.append(frame["tick"]["epoch"])
        if len(got) == 4:
            done.set()

    async with connected(peer) as connection:
        stream = await connection.subscribe(requests.Ticks(ticks="R_100", subscribe=1), TIMEOUT_S, take)
        await asyncio.wait_for(done.wait(), TIMEOUT_S)
        assert connection.stream_count == 1
        connection.drop(stream)
        assert connection.stream_count == 0
    assert stream.stream_id == "s-1"
    assert got == [0, 1, 2, 3]


async def test_nothing_is_kept_of_ended_calls() -> None:
    async def peer(socket: ServerConnection, frame: dict[str, Any]) -> None:
        await socket.send(answer(frame, "time", 5))

    async with connected(peer) as connection:
        for _ in range(300):
            await connection.call(requests.Time(), TIMEOUT_S)
        for _ in range(5):  # the library hears of an answer after the caller
            await asyncio.sleep(0)
        assert connection._adapter._api.pending_requests == {}  # pyright: ignore[reportPrivateUsage] - the leak it stands for is inside
        assert connection.open_calls == 0


async def test_a_sink_that_cannot_take_a_frame_does_not_end_the_socket() -> None:
    async def peer(socket: ServerConnection, frame: dict[str, Any]) -> None:
        if "ticks" in frame:
            for epoch in range(2):
                await socket.send(answer(frame, "tick", {"epoch": epoch}, subscription={"id": "s-1"}))
        else:
            await socket.send(answer(frame, "time", 5))

    def take(frame: dict[str, Any]) -> None:
        raise KeyError(frame["msg_type"])

    async with connected(peer) as connection:
        await connection.subscribe(requests.Ticks(ticks="R_100", subscribe=1), TIMEOUT_S, take)
        assert (await connection.call(requests.Time(), TIMEOUT_S))["time"] == 5

"""Server, channel, identity and errors together, over real sockets."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from derivfleet.common.errors import ConfigurationError
from derivfleet.common.rpc.channel import open_channel
from derivfleet.common.rpc.identity import IdentitiesUnavailableError, Identity, Role, caller
from derivfleet.common.rpc.own_token import OwnToken, bearer, read_token
from derivfleet.common.rpc.server import Server
from derivfleet.common.rpc.status import Problem, abort, problem_of
from derivfleet.common.rpc.token_file import TokenFile, issue_tokens
from derivfleet.v1 import trading_pb2, trading_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from pathlib import Path

TRADING = "derivfleet.v1.TradingService"
LIMITED = Problem(
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    "LIMIT_REACHED",
    "would start in 7.4 s",
    field="terms.stake",
    limit="trade/60s",
    retry_after_s=7.4,
    metadata={"order_id": "o1"},
)


class Servicer(trading_pb2_grpc.TradingServiceServicer):
    async def Check(  # noqa: N802 - the contract's name
        self, request: trading_pb2.CheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> trading_pb2.CheckResponse:
        if request.order_id == "limited":
            await abort(context, LIMITED)
        response = trading_pb2.CheckResponse()
        response.order.bot = caller().name
        return response

    async def StreamTicks(  # noqa: N802 - the contract's name
        self, request: trading_pb2.StreamTicksRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[trading_pb2.StreamTicksResponse]:
        del request, context
        yield trading_pb2.StreamTicksResponse()

    async def StreamOrders(  # type: ignore[override]  # noqa: N802 - the contract's name; its stub knows generators only
        self,
        request: trading_pb2.StreamOrdersRequest,
        context: grpc.aio.ServicerContext[Any, trading_pb2.StreamOrdersResponse],
    ) -> None:
        del request
        await context.write(trading_pb2.StreamOrdersResponse())


SERVICER = Servicer()  # pyright: ignore[reportAbstractUsage] - two methods are enough to be called


@asynccontextmanager
async def serving(
    folder: Path,
) -> AsyncGenerator[tuple[grpc.aio.Channel, trading_pb2_grpc.TradingServiceAsyncStub], None]:
    path = issue_tokens({"one": Role.BOT, "metrics": Role.OBSERVER}, folder)
    roles = {TRADING: frozenset({Role.BOT})}
    server = Server("127.0.0.1:0", "LISTEN", TokenFile(path, "TOKENS"), roles)
    trading_pb2_grpc.add_TradingServiceServicer_to_server(SERVICER, server.grpc_server)
    server.announce(TRADING)
    port = await server.start()
    await server.set_serving(serving=True)
    try:
        async with open_channel(f"127.0.0.1:{port}") as channel:
            yield channel, trading_pb2_grpc.TradingServiceStub(channel)
    finally:
        await server.stop(1)


async def test_the_name_in_the_token_is_the_caller(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, stub):
        metadata = bearer(read_token(tmp_path / "one.token", "TOKEN_FILE"))
        response = await stub.Check(trading_pb2.CheckRequest(), metadata=metadata)
        assert response.order.bot == "one"
        assert [item async for item in stub.StreamTicks(trading_pb2.StreamTicksRequest(), metadata=metadata)]


@pytest.mark.parametrize(("method", "streams"), [("Check", False), ("StreamTicks", True), ("StreamOrders", True)])
async def test_a_request_that_is_no_message_is_the_caller_s_mistake_in_one_line(
    tmp_path: Path, method: str, streams: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serving(tmp_path) as (channel, _):
        make: Any = channel.unary_stream if streams else channel.unary_unary
        metadata = bearer(read_token(tmp_path / "one.token", "TOKEN_FILE"))
        call: Any = make(f"/{TRADING}/{method}")(b"\xff no message", metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (anext(aiter(call)) if streams else call)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert problem_of(caught.value).reason == "REQUEST_UNREADABLE"
        # Who sends a message is served as ever.
        good = trading_pb2.CheckRequest().SerializeToString()
        call = make(f"/{TRADING}/{method}")(good, metadata=metadata)
        assert await (anext(aiter(call)) if streams else call) is not None
    said = "".join(capfd.readouterr())
    assert said.count("call refused") == 1
    assert "REQUEST_UNREADABLE" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("token", ["", "one.wrong", "nobody.x", "one", "ünïcode"])
async def test_without_a_valid_token_nothing_is_done(tmp_path: Path, token: str) -> None:
    async with serving(tmp_path) as (_, stub):
        metadata = bearer(token) if token.isascii() and token else ()
        with pytest.raises(grpc.aio.AioRpcError) as unary:
            await stub.Check(trading_pb2.CheckRequest(), metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as stream:
            await anext(aiter(stub.StreamTicks(trading_pb2.StreamTicksRequest(), metadata=metadata)))
    for error in (unary.value, stream.value):
        assert problem_of(error).reason == "TOKEN_UNKNOWN"
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_role_may_only_use_its_services(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, stub):
        metadata = bearer(read_token(tmp_path / "metrics.token", "TOKEN_FILE"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(trading_pb2.CheckRequest(), metadata=metadata)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "metrics has the role observer" in (caught.value.details() or "")


class Unsure:
    """Cannot say who anybody is, as a cluster whose API server is away."""

    async def identify(self, token: str) -> Identity | None:
        raise IdentitiesUnavailableError(token)


async def test_who_cannot_be_checked_is_asked_to_come_back() -> None:
    server = Server("127.0.0.1:0", "LISTEN", Unsure())
    trading_pb2_grpc.add_TradingServiceServicer_to_server(SERVICER, server.grpc_server)
    port = await server.start()
    async with open_channel(f"127.0.0.1:{port}") as channel:
        stub = trading_pb2_grpc.TradingServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(trading_pb2.CheckRequest(), metadata=bearer("one.secret"))
    problem = problem_of(caught.value)
    assert (problem.code, problem.reason) == (grpc.StatusCode.UNAVAILABLE, "TOKEN_UNCHECKED")
    assert problem.retry_after_s == 1.0
    await server.stop(0)


def test_a_renewed_token_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("one.first-secret")
    token = OwnToken(path, "TOKEN_FILE")
    assert token.metadata == bearer("one.first-secret")
    path.write_text("one.second-secret")
    os.utime(path, ns=(1, 1))
    assert token.metadata == bearer("one.second-secret")
    path.unlink()
    assert token.metadata == bearer("one.second-secret")
    with pytest.raises(ConfigurationError, match="TOKEN_FILE: cannot read"):
        OwnToken(path, "TOKEN_FILE")


async def test_an_error_carries_all_its_details(tmp_path: Path) -> None:
    async with serving(tmp_path) as (_, stub):
        metadata = bearer(read_token(tmp_path / "one.token", "TOKEN_FILE"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(trading_pb2.CheckRequest(order_id="limited"), metadata=metadata)
    assert problem_of(caught.value) == LIMITED


async def test_health_and_reflection_need_no_token(tmp_path: Path) -> None:
    async with serving(tmp_path) as (channel, _):
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflected: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # pyright: ignore[reportArgumentType] - its stub knows blocking channels only
        requests = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        async for response in reflected.ServerReflectionInfo(requests):
            names = {service.name for service in response.list_services_response.service}
            assert {TRADING, "grpc.health.v1.Health"} <= names


async def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    identities = TokenFile(issue_tokens({}, tmp_path), "TOKENS")
    first = Server("127.0.0.1:0", "LISTEN", identities)
    port = await first.start()
    with pytest.raises(ConfigurationError, match=rf"LISTEN: cannot listen on 127.0.0.1:{port}"):
        await Server(f"127.0.0.1:{port}", "LISTEN", identities).start()
    await first.stop(0)


async def test_a_server_that_is_away_can_be_asked_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as (channel, _):
        del channel
    async with open_channel("127.0.0.1:1") as channel:
        stub = trading_pb2_grpc.TradingServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(trading_pb2.CheckRequest(), timeout=60)
    problem = problem_of(caught.value)
    assert problem.reason == "UNAVAILABLE"
    assert problem.retry_after_s == 1.0


def test_tokens_are_private_and_kept_as_hashes(tmp_path: Path) -> None:
    path = issue_tokens({"one": Role.BOT}, tmp_path)
    token = read_token(tmp_path / "one.token", "TOKEN_FILE")
    assert token.startswith("one.")
    assert token.partition(".")[2] not in path.read_text()
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_a_missing_or_broken_token_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="TOKENS: cannot read"):
        TokenFile(tmp_path / "none", "TOKENS")
    (tmp_path / "broken").write_text("{}")
    with pytest.raises(ConfigurationError, match="is not a token file"):
        TokenFile(tmp_path / "broken", "TOKENS")
    with pytest.raises(ConfigurationError, match="TOKEN_FILE: cannot read"):
        read_token(tmp_path / "none", "TOKEN_FILE")
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigurationError, match="is empty"):
        read_token(tmp_path / "empty", "TOKEN_FILE")


async def test_lanes_share_a_port_with_nobody_else(tmp_path: Path) -> None:
    identities = TokenFile(issue_tokens({"one": Role.BOT}, tmp_path), "TOKENS")
    first = Server("127.0.0.1:0", "LISTEN", identities, lanes=4)
    trading_pb2_grpc.add_TradingServiceServicer_to_server(SERVICER, first.grpc_server)
    port = await first.start()
    for lanes in (1, 4):
        with pytest.raises(ConfigurationError, match=rf"LISTEN: cannot listen on 127.0.0.1:{port}"):
            await Server(f"127.0.0.1:{port}", "LISTEN", identities, lanes=lanes).start()
    metadata = bearer(read_token(tmp_path / "one.token", "TOKEN_FILE"))
    for number in range(12):  # each on a connection of its own, so in whichever lane
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("number", number)]) as channel:
            stub = trading_pb2_grpc.TradingServiceStub(channel)
            assert (await stub.Check(trading_pb2.CheckRequest(), metadata=metadata)).order.bot == "one"
    await first.stop(0)

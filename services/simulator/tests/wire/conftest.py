"""The simulator on a real port, with a clock that tests move."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import pytest

from derivfleet.common.clock import ManualClock
from derivfleet.deriv.dialects import Frame, from_json, to_json
from derivfleet.deriv.vocabulary import Dialect
from derivfleet.simulator.core.exchange import Credentials, Exchange
from derivfleet.simulator.core.settings import SimulatorSettings
from derivfleet.simulator.wire.application import running

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

TOKEN = "a1-TOKEN"
APP_ID = "12345"
ROOT = "/trading/v1/options"
PATIENCE_S = 60


class Socket:
    """One open socket. Every frame that it gets is checked against Deriv's schemas."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, dialect: Dialect, valid: Callable[[Dialect, str], None]
    ) -> None:
        self.socket = socket
        self._dialect = dialect
        self._valid = valid
        self._req_id = 0

    async def send(self, **fields: Any) -> int:
        self._req_id += 1
        await self.socket.send_str(to_json({"req_id": self._req_id, **fields}))
        return self._req_id

    async def frame(self) -> Frame:
        text = await self.socket.receive_str(timeout=PATIENCE_S)
        self._valid(self._dialect, text)
        return from_json(text)

    async def ask(self, **fields: Any) -> Frame:
        """The answer to a request; stream messages before it are dropped."""
        req_id = await self.send(**fields)
        while True:
            frame = await self.frame()
            if frame.get("req_id") == req_id:
                return frame

    async def end(self) -> int | None:
        """Wait for the socket's end; its close code."""
        async with asyncio.timeout(PATIENCE_S):
            async for message in self.socket:
                assert message.type is aiohttp.WSMsgType.TEXT
        return self.socket.close_code


class Service:
    """A running simulator and the ways into it."""

    def __init__(
        self,
        port: int,
        clock: ManualClock,
        exchange: Exchange,
        client: aiohttp.ClientSession,
        valid: Callable[[Dialect, str], None],
    ) -> None:
        self.port = port
        self.clock = clock
        self.exchange = exchange
        self.client = client
        self._valid = valid

    async def call(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: object = None
    ) -> tuple[int, Any]:
        async with self.client.request(method, path, headers=headers, json=body) as response:
            text = await response.text()
            return response.status, from_json(text) if text.startswith("{") else text

    async def rest(self, method: str, path: str, token: str = TOKEN, app_id: str = APP_ID) -> tuple[int, Any]:
        """A REST call with credentials."""
        headers = {"Authorization": f"Bearer {token}", "Deriv-App-ID": app_id}
        return await self.call(method, f"{ROOT}{path}", headers)

    async def otp_url(self) -> str:
        status, body = await self.rest("POST", "/accounts/DOT90000001/otp")
        assert status == 200, body
        return str(body["data"]["url"])

    async def socket(self, url: str, dialect: Dialect = Dialect.OPTIONS) -> Socket:
        return Socket(await self.client.ws_connect(url), dialect, self._valid)

    async def options(self) -> Socket:
        return await self.socket(await self.otp_url())

    async def legacy(self, *, login: bool = True) -> Socket:
        socket = await self.socket(f"/websockets/v3?app_id={APP_ID}&l=EN&brand=", Dialect.LEGACY)
        if login:
            assert "error" not in await socket.ask(authorize=TOKEN)
        return socket

    async def open(self, dialect: Dialect) -> Socket:
        return await (self.options() if dialect is Dialect.OPTIONS else self.legacy())

    async def fault(self, **rule: Any) -> None:
        status, body = await self.call("POST", "/faults", body=rule)
        assert status == 200, body

    async def refused_upgrade(self, url: str) -> int:
        """The status of an upgrade that is refused."""
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await self.client.ws_connect(url)
        return caught.value.status


class Start(Protocol):
    def __call__(self, **settings: Any) -> AbstractAsyncContextManager[Service]: ...


@pytest.fixture
def start(valid_answer: Callable[[Dialect, str], None]) -> Start:
    @asynccontextmanager
    async def started(**settings: Any) -> AsyncGenerator[Service, None]:
        clock = ManualClock()
        exchange = Exchange(
            "1", Credentials(TOKEN, APP_ID), SimulatorSettings.model_validate(settings), int(clock.now_s())
        )
        async with AsyncExitStack() as stack:
            served = await stack.enter_async_context(running(exchange, clock, "127.0.0.1", 0))
            client = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{served.port}"))
            yield Service(served.port, clock, exchange, client, valid_answer)

    return started


@pytest.fixture
async def service(start: Start) -> AsyncGenerator[Service, None]:
    async with start() as running_service:
        yield running_service

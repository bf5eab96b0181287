"""What Supabase's front door may answer, and what is made of it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from derivfleet.metrics.replicate.outbox import FLEETS
from derivfleet.metrics.replicate.remote import RemoteError
from derivfleet.metrics.replicate.supabase import Supabase

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

ROW = {"fleet": "test", "account": "demo", "bots": ["over-4"]}


@asynccontextmanager
async def front_door(status: int, text: str, kind: str, headers: dict[str, str]) -> AsyncGenerator[Supabase, None]:
    """A project whose front door answers everything alike."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, text=text, content_type=kind, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    remote = Supabase(f"http://127.0.0.1:{runner.addresses[0][1]}", "sb_secret_abcdefghijklmnop")
    try:
        yield remote
    finally:
        await remote.close()
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (302, "", "text/html"),
        (413, "<html>413 Request Entity Too Large</html>", "text/html"),
        (429, '{"message": "rate"}', "application/json"),
        (502, "<html>Bad gateway</html>", "text/html"),
        (503, "{}", "application/json"),
        (521, "<html>web server is down</html>", "text/html"),
        (540, "", "text/html"),
    ],
)
async def test_whatever_is_no_success_is_an_error_that_can_be_tried_again(status: int, text: str, kind: str) -> None:
    async with front_door(status, text, kind, {"Location": "http://127.0.0.1:1/"}) as remote:
        with pytest.raises(RemoteError) as caught:
            await remote.put(FLEETS, [ROW])
    assert caught.value.code in ("PROBLEM", "UNREACHABLE")


PAGE_200 = "a page with status 200, as a paused project gives it, is taken for success"


@pytest.mark.xfail(strict=True, raises=pytest.fail.Exception, reason=PAGE_200)
async def test_a_page_is_no_success() -> None:
    async with front_door(200, "<html>paused project</html>", "text/html", {}) as remote:
        with pytest.raises(RemoteError):
            await remote.put(FLEETS, [ROW])


@pytest.mark.xfail(strict=True, raises=TimeoutError, reason="the copy asks no proxy")
async def test_the_copy_goes_through_the_proxy_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: asyncio.Queue[str] = asyncio.Queue()

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked.put((await reader.readline()).decode())
        writer.close()

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    remote = Supabase("http://project.invalid", "key")
    async with server:
        with pytest.raises(RemoteError):
            await remote.put(FLEETS, [ROW])
        await remote.close()
        assert "http://project.invalid/" in await asyncio.wait_for(asked.get(), 2)
